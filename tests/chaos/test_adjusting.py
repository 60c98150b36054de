"""Products is killed at each of its named points while stock is adjusted and ordered.

It takes minutes: `LONG=1`.
"""

from pathlib import Path

from cartwheel.kernel._core.crash_points import POINTS

from ..long_form import long_form
from . import faults
from .round import Plan, play


@long_form
async def test_an_adjustment_is_made_once_wherever_products_dies(tmp_path: Path) -> None:
    plan = Plan(
        seed=1,
        faults=lambda dice: [
            faults.crash("products", point, dice.randint(1, 9)) for point in POINTS
        ],
        customers=8,
        think=0.3,
    )

    result = await play(plan, tmp_path / "system")

    assert not result.found, str(result)
