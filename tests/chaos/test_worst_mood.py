"""Five minutes in which everything goes wrong at the payment provider, and nothing elsewhere."""

from pathlib import Path

import pytest

from ..long_form import long_form
from . import faults
from .round import Plan, play

SETTLED_WITHIN = 120.0
"""Seconds from the end of the faults until no order, payment or refund is under way."""


@long_form
@pytest.mark.parametrize("capture", ["now", "shipment"])
async def test_every_order_settles_and_nobody_is_charged_twice(
    capture: str, tmp_path: Path
) -> None:
    plan = Plan(
        seed=18,
        faults=lambda _: [faults.worst_mood(share=0.1, seconds=300)],
        customers=20,
        purchases=400,
        payment_deadline=20,
        quiet_within=SETTLED_WITHIN,
        settings={"CARD_CAPTURE": capture},
    )

    result = await play(plan, tmp_path / "system")

    assert not result.found, str(result)
    assert result.payments["PAID"] > 50, str(result)
