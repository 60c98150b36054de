"""The handlers of payments, one file per use case."""
