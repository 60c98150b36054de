"""The rules of the catalogue, and of stock that is reserved for orders."""
