"""A payment provider for tests: an API like Stripe's, a durable ledger, and faults on demand.

It shares no state with the services, so its ledger is independent evidence of what was charged.
"""
