"""Payments: who paid what for which order, by which provider, and how it ended."""
