"""What operators do to a running system: set it up, look at it, try it."""
