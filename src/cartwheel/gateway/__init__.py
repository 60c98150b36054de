"""The API gateway: HTTP in, requests to the services out. It owns nothing but counts."""
