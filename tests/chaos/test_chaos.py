"""The short form of the crash suite; `make chaos` runs the long one."""

from pathlib import Path

from ..long_form import long_form
from . import schedule
from .round import Plan, play

SEED = 20_260_701


async def test_nothing_is_lost_or_done_twice_whatever_is_killed(tmp_path: Path) -> None:
    plan = Plan(seed=SEED, faults=schedule.short, think=0.6)

    result = await play(plan, tmp_path / "system")

    assert not result.found, str(result)


@long_form
async def test_nothing_is_captured_twice_or_for_nothing_whatever_is_killed(tmp_path: Path) -> None:
    """The shop charges cards at shipment, as in half of the rounds of `make chaos`."""
    plan = Plan(seed=SEED, faults=schedule.short, think=0.6, settings={"CARD_CAPTURE": "shipment"})

    result = await play(plan, tmp_path / "system")

    assert not result.found, str(result)
