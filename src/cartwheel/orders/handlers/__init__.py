"""The handlers of orders, one file per use case."""
