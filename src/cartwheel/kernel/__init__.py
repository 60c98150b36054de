"""Machinery without a business word: messages, bus, store, settings, telemetry, process."""
