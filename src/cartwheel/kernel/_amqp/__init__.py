"""AMQP 0-9-1 for the bus, with a choice of two clients.

interface    what a client offers: connections, channels, messages, deliveries, and what they raise
connecting   the client that the setting AMQP_CLIENT names
built_in     Cartwheel's own client: few objects, no task per message
channel      a channel of that client
frames       that client's encoding of the frames that every message needs
library      the same interface over aiormq
"""
