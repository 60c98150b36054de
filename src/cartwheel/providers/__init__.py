"""Payment providers: the port that payments uses, and a package for each provider.

A provider's package is the only place that knows its wire format: `client` charges and refunds, for
payments; `webhook` checks and reads what the provider reports, for the gateway.
"""
