"""The rules of orders, and of the addresses that a customer keeps."""
