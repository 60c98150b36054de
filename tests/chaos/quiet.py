"""Waits until the system has no work left, and says what is left if it takes too long."""

import asyncio
import contextlib
import sqlite3
import time
from typing import Any

from cartwheel.kernel import mongodb
from cartwheel.kernel.mongodb import UNPUBLISHED
from cartwheel.kernel.operating import connect_any, topology
from cartwheel.local.up import System
from cartwheel.services import SERVICES, outboxes

_WANTED: dict[tuple[str, str, str], dict[str, Any]] = {
    ("refunds to be made", "payments", "payments"): {"refunds.status": "PENDING"},
    ("payments without a verdict", "payments", "payments"): {
        "status": "AWAITING_PAYMENT",
        "provider": "simulator",
    },
    ("payments that are given up", "payments", "payments"): {
        "status": "REQUIRES_ACTION",
        "$or": [{"unwanted": True}, {"cancel_request": {"$ne": None}}],
    },
    ("authorizations to be captured or voided", "payments", "payments"): {
        "status": "AUTHORIZED",
        "decided": {"$ne": None},
    },
    ("mails being sent", "notifications", "mail"): {"status": "SENDING"},
}
LOOKS = 3
"""How many times in a row, a second apart, no work may be left: events that a consumer has fetched
are in no queue that can be counted."""


class NotQuiet(AssertionError):
    """The system still has work. The message says what."""


async def quiet(system: System, *, within: float, deadline: bool) -> None:
    """Return when no work is left.

    Args:
        deadline: the payment deadline is short, so that no order may wait forever.

    Raises:
        NotQuiet: there is still work after `within` seconds.
    """
    until = time.monotonic() + within
    looks = 0
    environment = system.environment
    async with (
        mongodb.connect(environment["MONGODB_URI"], process="tests") as client,
        await connect_any(environment["RABBITMQ_URL"]) as connection,
        connection.channel() as channel,
    ):
        while looks < LOOKS:
            left = {
                **await _in_databases(client, environment["SIMULATOR_LEDGER"], deadline),
                **await _in_queues(channel),
                **_at_the_provider(environment["SIMULATOR_LEDGER"]),
            }
            looks = 0 if left else looks + 1
            if left and time.monotonic() > until:
                raise NotQuiet(f"{within:.0f} s after the last fault there are still {left}")
            await asyncio.sleep(1)


def _decided(ledger: str) -> set[str]:
    """Return the ids of the payments whose customers were asked, and that the provider has decided.

    The webhook may be lost. Payments asks from time to time.
    """
    query = (
        "SELECT payment_id FROM challenges JOIN entries USING (payment_id)"
        " WHERE kind IN ('charge', 'decline', 'cancellation', 'authorization')"
    )
    with contextlib.closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as db:
        return {payment_id for (payment_id,) in db.execute(query)}


async def _in_databases(client: mongodb.Client, ledger: str, deadline: bool) -> dict[str, int]:
    left = {
        f"unpublished {name}": await client[database][name].count_documents(UNPUBLISHED)
        for database, name in outboxes()
    }
    for (what, database, name), query in _WANTED.items():
        left[what] = await client[database][name].count_documents(query)
    if deadline:
        left["orders to be canceled"] = await client["orders"]["orders"].count_documents(
            {"status": "AWAITING_PAYMENT", "expires_at": {"$ne": None}}
        )
    left["approvals to be heard of"] = len(
        {
            document["_id"]
            async for document in client["payments"]["payments"].find({"status": "REQUIRES_ACTION"})
        }
        & _decided(ledger)
    )
    left["reservations without an order"] = await _abandoned_reservations(client)
    return {what: count for what, count in left.items() if count}


async def _abandoned_reservations(client: mongodb.Client) -> int:
    reservations = client["products"]["reservations"]
    held = [document["_id"] async for document in reservations.find({"status": "HELD"})]
    known = await client["orders"]["orders"].count_documents({"_id": {"$in": held}})
    return len(held) - known


def _at_the_provider(ledger: str) -> dict[str, int]:
    """Return the webhooks to come that tell of a failed refund, a dispute or a lapse.

    Nobody asks the provider about these. Others may be due for days, as their payments are settled.
    """
    told = (
        "due_at IS NOT NULL AND (body LIKE '%\"refund.failed\"%' OR body LIKE '%charge.dispute%'"
        " OR body LIKE '%\"payment_intent.canceled\"%')"
    )
    with contextlib.closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as db:
        query = f"SELECT count(*) FROM webhooks WHERE {told}"  # noqa: S608 (constants)
        (count,) = db.execute(query).fetchone()
    return {"webhooks to be sent": count} if count else {}


async def _in_queues(channel: Any) -> dict[str, int]:
    names = [
        name
        for service in SERVICES
        for name in (
            topology.event_queue(service),
            *(topology.retry_queue(service, delay) for delay in topology.RETRY_DELAYS),
        )
    ]
    counts = {
        name: (await channel.declare_queue(name, passive=True)).declaration_result.message_count
        for name in names
    }
    return {name: count for name, count in counts.items() if count}
