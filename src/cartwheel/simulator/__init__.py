"""A payment provider one can misuse: Stripe's manners, a durable ledger, faults on demand.

It is the outside witness of what was really charged, and shares no state with the services.
"""
