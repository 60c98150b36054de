"""Codes of the simulator that decide something; others are handed on as they are."""

NOT_APPROVED = "payment_intent_authentication_failure"
"""The customer has refused the payment, or could not be identified: the issuer was not asked."""
