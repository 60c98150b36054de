"""The operators' commands for a running system: set up, inspect and try it."""
