"""What notifications does on each message: a file per use case."""
