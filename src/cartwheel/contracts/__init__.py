"""The messages between services, one file per owner. Services share nothing else.

The service that answers a request or publishes an event owns that message. Readers ignore unknown
fields, so an owner may add a field with a default at any time. Any other change needs a new
version of the message.
"""
