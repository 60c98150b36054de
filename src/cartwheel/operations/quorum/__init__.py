"""Quorum queues on a cluster of RabbitMQ nodes: they get their members, and leaders are spread.

cluster        what there is, as values
planning       what should be done, and what is wrong: pure
access         how a cluster is looked at and changed
steps          what can be done, in words and as commands of RabbitMQ's own tools
management     looking and doing over the management API
command_line   looking and doing by rabbitmqctl and rabbitmq-queues
tending        look, plan, do, look again

RabbitMQ gives a quorum queue its members when it is declared, and changes them only when it is
told to (https://www.rabbitmq.com/docs/quorum-queues#replica-management).
"""
