"""`make bench`: what the running system does in a second, and what that costs; see `run`."""
