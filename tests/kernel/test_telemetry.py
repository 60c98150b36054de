"""Logs are JSON, carry the trace, and hold no local variables."""

import json
import subprocess
import sys

from cartwheel.kernel._core import telemetry

GIVEN = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_a_given_trace_continues_and_a_malformed_one_is_replaced() -> None:
    assert telemetry.continue_trace(GIVEN) == "0af7651916cd43dd8448eb211c80319c"
    assert telemetry.traceparent().split("-")[1] == "0af7651916cd43dd8448eb211c80319c"
    started = telemetry.continue_trace("00-zz-b7-01\r\nX: y")
    assert len(started) == 32
    assert started != "0af7651916cd43dd8448eb211c80319c"


def test_a_traceback_in_the_log_shows_no_local_variables() -> None:
    program = f"""
from cartwheel.kernel._core import telemetry
telemetry.configure("p")
telemetry.continue_trace({GIVEN!r})
import logging
def pay(card):
    raise RuntimeError("no")
try:
    pay("4242" + "424242424242")
except RuntimeError:
    telemetry.log.exception("failed")
    logging.getLogger("lib").exception("failed too")
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)  # noqa: S603 our own text
    lines = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [line["event"] for line in lines] == ["failed", "failed too"]
    assert all(line["trace_id"] == "0af7651916cd43dd8448eb211c80319c" for line in lines)
    assert all(line["process"] == "p" for line in lines)
    assert "4242424242424242" not in ran.stdout + ran.stderr
    assert "RuntimeError" in ran.stdout
