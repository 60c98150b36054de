"""Captures log events."""

import logging

import pytest
import structlog
from structlog.testing import LogCapture
from structlog.typing import EventDict


def logged_by(monkeypatch: pytest.MonkeyPatch, *modules: str) -> list[EventDict]:
    """Return a list of the events that these modules log from now on, at any level."""
    capture = LogCapture()
    log = structlog.wrap_logger(
        None,
        processors=[structlog.contextvars.merge_contextvars, capture],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
    )
    for module in modules:
        monkeypatch.setattr(f"cartwheel.{module}.log", log)
    return capture.entries
