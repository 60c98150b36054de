"""`cartwheel verify`: the promises of docs/reliability.md, checked over what is stored.

records     what the services store, as far as the promises need it
case        an order with everything that concerns it, and what speaks for its being in flight
patience    for how long a disagreement may be work in flight
stock       promise 2     pure checks, document in, violations out
money       promises 3 and 4
effects     promise 5
mails       promises 6 and 7
reading     documents from the databases, a batch at a time
ledger      the provider's ledger
spool       what has to be remembered while running, on disk
queues      what is waiting or parked in RabbitMQ
noticed     what is no violation, but worth knowing
passes      the whole run: look at everything, wait, look again at what disagreed
run         a run on the running system, from connecting to its sums
report      what is said of it
command     as typed by a person
"""
