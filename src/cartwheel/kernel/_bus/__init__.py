"""Everything over RabbitMQ: requests (at most once) and events (at least once).

connection   one connection, reopened after every loss with everything that uses it
topology     the queues and exchanges, declared by `cartwheel setup` and checked by processes
hosts        a connection for a command, to any node of a cluster
wire         requests, answers and events as bytes
rpc_client   the caller's side of requests
replicas     the replicas of a service that a caller knows
rpc_server   the service's side of requests
publishing   publishes events, with confirms
intake       how many events a consumer holds at a time: a redelivery alone
consuming    consumes events: done, retried, dead-lettered, or waiting for a dependency
"""
