"""What `make up` does: provide MongoDB, RabbitMQ and AWS, keep the processes running, stop it all.

`bootstrap` makes `.venv` and is the only module that runs before there is one; `up.running` is
the way in for the command line and for tests.
"""
