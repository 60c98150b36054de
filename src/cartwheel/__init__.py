"""The backend of an online shop, built from microservices. Start with `docs/architecture.md`."""
