"""The handlers of notifications, one file per use case."""
