"""Orders: who bought what, for how much, and the order's status."""
