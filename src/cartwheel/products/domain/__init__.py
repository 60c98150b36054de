"""The rules: of the catalogue, and of stock that is held for orders."""
