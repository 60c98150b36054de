"""The payment simulator, as its customers see it."""
