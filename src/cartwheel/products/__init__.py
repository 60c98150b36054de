"""The catalogue, its stock, and the stock reserved for orders."""
