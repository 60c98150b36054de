"""Everything over RabbitMQ: requests (at most once) and events (at least once).

connection   one connection, kept; all that uses it is opened anew after a loss
topology     the queues and exchanges, declared by `cartwheel setup`, checked by processes
wire         how requests, answers and events look as bytes
deadline     until when the work at hand makes sense, for the database's driver too
time_left    how much of that is left, for the requests that the work makes
asking       the caller's side of requests
answering    the service's side of requests
publishing   events out, confirmed
intake       how many events a consumer has in hand: a redelivery alone
consuming    events in: done, retried, parked, or waiting for a part to come back
"""
