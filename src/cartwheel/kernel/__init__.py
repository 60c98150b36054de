"""Machinery without a business word: messages, bus, store, settings, telemetry, process."""

from cartwheel.kernel import wait_for as wait_for  # before anybody waits
