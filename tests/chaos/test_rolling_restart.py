"""A new version is rolled out: each process in turn is stopped with SIGTERM and started."""

from collections.abc import Mapping
from pathlib import Path

from ..long_form import long_form
from .faults import restart
from .rig import OWN
from .round import Plan, Result, play


@long_form
async def test_a_rolling_restart_loses_nothing_and_fails_no_request(tmp_path: Path) -> None:
    result = await roll_out(tmp_path / "system")

    assert not result.found, str(result)
    # A gateway that stops closes a brand-new connection without an answer. The customer's retry
    # reaches the other gateway. Nothing else fails.
    assert failures(result) <= {"503"}, str(result)
    assert result.requests > 300


async def roll_out(home: Path, settings: Mapping[str, str] = {}) -> Result:
    plan = Plan(
        seed=1,
        faults=lambda _: [restart(name) for name in (*OWN, "gateway.2")],
        numbers={"gateway": 2},
        think=0.5,
        settings=settings,
    )
    return await play(plan, home)


def failures(result: Result) -> set[str]:
    """Return the server errors among the answers."""
    return {status for status in result.answers if status.startswith("5")}
