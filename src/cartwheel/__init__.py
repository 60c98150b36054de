"""An online shop's backend of microservices; `docs/architecture.md` is the way in."""
