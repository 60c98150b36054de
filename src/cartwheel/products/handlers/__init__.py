"""The handlers of products, one file per use case."""
