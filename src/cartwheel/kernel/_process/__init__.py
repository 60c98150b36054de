"""How a process starts, works and stops, and what a service is."""
