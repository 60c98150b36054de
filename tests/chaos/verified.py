"""The promises that `cartwheel verify` checks, with databases, ledger and dead letters."""

from typing import Any

import msgspec

from cartwheel.local.up import System

from ..journeys.command_line import cartwheel
from .promises import Violation

_HELD_WITHOUT_ORDER = "60"
"""Seconds. In a round, the sweep checks reservations after 20."""


async def verified(system: System) -> list[Violation]:
    """Return the violations that it finds. The system is quiet, so nothing counts as in flight."""
    nothing_in_flight = ("--grace", "0", "--stuck-after", "0", "--hold", _HELD_WITHOUT_ORDER)
    ran = await cartwheel(system, "verify", "--json", *nothing_in_flight)
    if ran.status not in (0, 1):
        return [Violation(6, f"verify failed: {ran.output[-300:]} {ran.errors[-1000:]}")]
    found: list[Any] = msgspec.json.decode(ran.output)["violations"]
    return [
        Violation(
            each["promise"],
            f"{each['sentence']} {each['ids']}",
            next((name for name in each["ids"] if name.startswith("ord_")), None),
        )
        for each in found
    ]
