"""The promises that `cartwheel verify` checks: over databases, ledger and dead letters."""

from typing import Any

import msgspec

from cartwheel.local.up import System

from ..journeys.command_line import cartwheel
from .promises import Violation

_HELD_WITHOUT_ORDER = "60"
"""Seconds; in a round the sweeper looks after 20."""


async def verified(system: System) -> list[Violation]:
    """Return the violations it finds where nothing counts as in flight: the system is quiet."""
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
