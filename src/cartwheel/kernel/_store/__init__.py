"""Everything over MongoDB: the client, aggregates with their outbox, the relay, leases, pages.

client      one connection pool, with the guarantees that the promises need
aggregates  a change and the events that tell of it, in one write
group       reads and writes of single documents, done together
bulk        several writes in one command, and what became of each
outbox      the events in their document, and who has some to publish
due         the items of a background job, and when it works on each of them again
relay       publishes what lies in the outboxes
lease       one active copy of something, by the server's clock
cursors     pages of a list
codec       values to documents and back
"""
