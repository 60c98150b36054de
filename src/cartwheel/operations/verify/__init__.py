"""`cartwheel verify`: check all stored data against the promises of docs/reliability.md.

records     the stored fields that the promises need
case        an order with all related documents, and whether work on it is in flight
patience    how long a mismatch may be explained by work in flight
stock       promise 2: pure checks, documents in, violations out
money       promises 3 and 4
effects     promise 5
mails       promises 6 and 7
goods       promise 13
reading     documents from the databases, in batches
ledger      the provider's ledger
spool       the run's notes, on disk
queues      waiting and dead-lettered events in RabbitMQ
noticed     findings that are not violations
passes      the whole run: check everything, wait, check the mismatches again
run         a run on the running system, from connecting to the totals
report      the output
command     the command line
"""
