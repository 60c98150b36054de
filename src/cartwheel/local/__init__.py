"""The work of `make up`: provide MongoDB, RabbitMQ and AWS, keep the processes running, stop all.

`bootstrap` makes `.venv`; it is the only module that runs before `.venv` exists. The command line
and the tests start with `up.running`.
"""
