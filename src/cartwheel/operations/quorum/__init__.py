"""Quorum queues on a RabbitMQ cluster: each gets its members, and leaders are spread.

cluster        the cluster's state, as values
planning       what should be done, and what is wrong: pure
access         the port for reading and changing a cluster
steps          the possible changes, in words and as commands of RabbitMQ's tools
management     reading and changing with the management API
command_line   reading and changing with rabbitmqctl and rabbitmq-queues
tending        read, plan, change, read again

RabbitMQ gives a quorum queue its members when the queue is declared, and changes them only on
request (https://www.rabbitmq.com/docs/quorum-queues#replica-management).
"""
