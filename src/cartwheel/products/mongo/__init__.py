"""Products in MongoDB, database `products`."""
