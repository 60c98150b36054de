"""The client side of the payment simulator."""
