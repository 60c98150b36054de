"""A new version is rolled out: every process is stopped by SIGTERM and started, one at a time."""

import os
from pathlib import Path

import pytest

from .faults import restart
from .rig import OWN
from .round import Plan, play


@pytest.mark.skipif(not os.environ.get("LONG"), reason="takes over a minute: `make chaos` runs it")
async def test_a_rolling_restart_loses_nothing_and_fails_nothing(tmp_path: Path) -> None:
    plan = Plan(
        seed=1,
        faults=lambda _: [restart(name) for name in (*OWN, "gateway-2")],
        numbers={"gateway": 2},
        think=0.5,
    )

    result = await play(plan, tmp_path / "system")

    assert not result.found, str(result)
    # A connection that was just made to a gateway that stops is closed without an answer, and the
    # customer's next try reaches the other one; nothing else is noticed.
    failed = {status for status in result.answers if status.startswith("5")}
    assert failed <= {"503"}, str(result)
    assert result.requests > 300
