"""What the code under test logs, whatever the level of the tests' own log."""

import logging

import pytest
import structlog
from structlog.testing import LogCapture
from structlog.typing import EventDict


def captured_from(monkeypatch: pytest.MonkeyPatch, *modules: str) -> list[EventDict]:
    """Return what these modules of `cartwheel` log from now on."""
    capture = LogCapture()
    log = structlog.wrap_logger(
        None,
        processors=[structlog.contextvars.merge_contextvars, capture],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
    )
    for module in modules:
        monkeypatch.setattr(f"cartwheel.{module}.log", log)
    return capture.entries
