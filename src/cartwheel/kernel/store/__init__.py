"""Everything over MongoDB: the client, aggregates with their outbox, the relay, leases, pages.

client    one connection pool, with the guarantees that the promises need
group     reads and writes of single documents, done together
outbox    an aggregate's change and its events, in one write
relay     publishes what lies in the outboxes
lease     one active copy of something, by the server's clock
cursor    pages of a list
codec     values to documents and back
"""
