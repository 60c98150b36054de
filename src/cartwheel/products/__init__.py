"""The catalogue, its stock, and the stock held for orders."""
