"""Seeing what is logged."""

import logging

import pytest
import structlog
from structlog.testing import LogCapture
from structlog.typing import EventDict


def logged_by(monkeypatch: pytest.MonkeyPatch, *modules: str) -> list[EventDict]:
    """Return what these modules of the package log from now on, whatever the tests' own level."""
    capture = LogCapture()
    log = structlog.wrap_logger(
        None,
        processors=[structlog.contextvars.merge_contextvars, capture],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
    )
    for module in modules:
        monkeypatch.setattr(f"cartwheel.{module}.log", log)
    return capture.entries
