"""What `cartwheel verify` says of the system: another opinion, by other code."""

from typing import Any

import msgspec

from ..journeys.command_line import cartwheel
from .promises import Violation
from .rig import Rig

_HELD_WITHOUT_ORDER = "60"
"""Seconds; in a round the sweeper looks after 20."""


async def verified(rig: Rig) -> list[Violation]:
    """Return the violations it finds in the quiet system, to whom nothing is in flight any more."""
    ran = await cartwheel(
        rig.system, "verify", "--json", "--grace", "0", "--hold", _HELD_WITHOUT_ORDER
    )
    if ran.status not in (0, 1):
        return [Violation(6, f"verify failed: {ran.output[-300:]} {ran.errors[-1000:]}")]
    found: list[Any] = msgspec.json.decode(ran.output)["violations"]
    return [
        Violation(
            each["promise"],
            f"verify says: {each['sentence']} {each['ids']}",
            next((name for name in each["ids"] if name.startswith("ord_")), None),
        )
        for each in found
    ]
