"""The evidence after a round: databases, the provider's ledger, mail, dead-lettered events."""

from collections.abc import Mapping
from typing import Any

import aiohttp
import msgspec

from cartwheel.kernel import mongodb
from cartwheel.kernel.operating import connect_any, topology
from cartwheel.local.up import System
from cartwheel.services import SERVICES

from ..journeys.outside import ledger
from .history import Call, History

Document = dict[str, Any]


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """Documents by id. `mailed` is the mail that SES accepted; `healed` is in Unix time.

    `open_orders` and `pieces_per_line` are the most that a customer may have of each; 0 open orders
    is no bound.
    """

    calls: list[Call]
    healed: float
    reservations: dict[str, Document]
    adjustments: dict[str, Document]
    orders: dict[str, Document]
    addresses: dict[str, Document]
    payments: dict[str, Document]
    mails: dict[str, Document]
    ledger: list[Document]
    mailed: list[Document]
    dead_letters: list[Document]
    open_orders: int
    pieces_per_line: int


async def collect(
    system: System, history: History, settings: Mapping[str, str] | None = None
) -> Evidence:
    """Return what is there; `settings` are what the services were given."""
    given = settings or {}
    environment = system.environment
    async with mongodb.connect(environment["MONGODB_URI"], process="tests") as client:

        async def all_of(database: str, name: str) -> dict[str, Document]:
            collection = mongodb.database(client, database)[name]
            return {document["_id"]: document async for document in collection.find()}

        return Evidence(
            calls=history.calls,
            healed=history.faults[-1].at,
            reservations=await all_of("products", "reservations"),
            adjustments=await all_of("products", "adjustments"),
            orders=await all_of("orders", "orders"),
            addresses=await all_of("orders", "addresses"),
            payments=await all_of("payments", "payments"),
            mails=await all_of("notifications", "mail"),
            ledger=await ledger(system),
            mailed=await _mailed(environment["AWS_ENDPOINT_URL"]),
            dead_letters=await _dead_letters(environment["RABBITMQ_URL"]),
            open_orders=int(given.get("MAX_OPEN_ORDERS", 10)),
            pieces_per_line=int(given.get("MAX_PIECES_PER_LINE", 1_000)),
        )


async def _mailed(endpoint: str) -> list[Document]:
    async with (
        aiohttp.ClientSession(endpoint) as http,
        http.get("/_ministack/ses/messages") as response,
    ):
        accounts: dict[str, list[Document]] = (await response.json())["messages"]
    return [
        message
        for messages in accounts.values()
        for message in messages
        if message["Type"] == "v2.SendEmail"
    ]


async def _dead_letters(url: str) -> list[Document]:
    """Fetch the dead letters. They are requeued when the connection closes."""
    found: list[Document] = []
    async with await connect_any(url) as connection, connection.channel() as channel:
        for service in SERVICES:
            queue = await channel.get_queue(topology.dead_queue(service))
            while message := await queue.get(fail=False):
                headers = {str(name): value for name, value in message.headers.items()}
                found.append(
                    {"queue": queue.name, "headers": headers, "body": message.body.decode()}
                )
    return found
