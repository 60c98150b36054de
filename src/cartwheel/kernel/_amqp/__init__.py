"""AMQP 0-9-1 as the bus uses it, by one of two clients.

interface    what a client offers: connections, channels, messages, deliveries, and what they raise
connecting   the client that the setting AMQP_CLIENT names
built_in     Cartwheel's own client: few objects, no task per message
channel      one of its channels
frames       the bytes of the frames that come with every message, for that client
library      the same interface over aiormq
"""
