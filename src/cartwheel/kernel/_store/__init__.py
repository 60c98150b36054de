"""Everything that uses MongoDB: the client, aggregates with outboxes, the relay, leases, pages.

client      a connection pool with the required guarantees
primary     how long operations wait while there is no primary
aggregates  a change and its events, in one write
optimistic  optimistic locking
group       reads and writes of single documents, batched
bulk        several writes in one command, and the outcome of each
outbox      the unpublished events in each document, and which documents have some
due         the items of a background job, and when each is due
relay       publishes the events in the outboxes
lease       one active holder among many processes, by the server's clock
migrations  what `cartwheel setup` does to a database
cursors     pages of a list
codec       values to documents and back
"""
