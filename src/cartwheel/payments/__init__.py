"""Payments: who paid how much for which order, through which provider, and the outcome."""
