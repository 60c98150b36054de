"""A process: how it starts, works and stops; and a service, which is one."""
