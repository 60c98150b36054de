"""Payment providers: the port that payments uses, and one package per provider.

Only a provider's package knows its wire format. Its `client` charges and refunds for payments. Its
`webhook` checks and reads the provider's reports for the gateway.
"""
