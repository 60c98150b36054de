"""What products does on each message: a file per use case."""
