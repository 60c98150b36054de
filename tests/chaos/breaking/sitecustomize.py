"""Breaks one guard in the process that starts with this folder on its PYTHONPATH.

Python imports `sitecustomize` before anything else. `BREAK` names the guard; nothing of this is in
the product, and nothing of the product knows it.
"""

import asyncio
import os
import sys
import uuid
from collections.abc import Callable
from importlib import import_module
from typing import Any


def sell_what_is_not_there() -> None:
    """products: allocate without looking at the stock."""
    rules: Any = import_module("cartwheel.products.domain.stock")
    msgspec: Any = import_module("msgspec")
    allocate = rules.allocate

    def careless(products: Any, requests: Any, *, at: Any) -> Any:
        plenty = {
            product_id: msgspec.structs.replace(
                product, stock=msgspec.structs.replace(product.stock, available=10**9)
            )
            for product_id, product in products.items()
        }
        return allocate(plenty, requests, at=at)

    rules.allocate = careless


def forget_idempotency_keys() -> None:
    """gateway: every request is a new one."""
    idempotency: Any = import_module("cartwheel.gateway.idempotency")

    def another(_identity: Any, _key: Any) -> str:
        return str(uuid.uuid4())

    idempotency.request_id = another


def acknowledge_before_the_effect() -> None:
    """Everywhere: an event is acknowledged first and handled then."""
    consuming: Any = import_module("cartwheel.kernel.bus.consuming")
    crash_points: Any = import_module("cartwheel.kernel.crash_points")

    async def handle(self: Any, message: Any) -> None:
        await message.ack()
        crash_points.reach("ack.after")
        await self._done_with(message)

    consuming.Consumer._handle = handle


def clear_the_outbox_before_the_confirm() -> None:
    """Everywhere: an event counts as published as soon as it is being sent."""
    relay: Any = import_module("cartwheel.kernel.store.relay")
    msgspec: Any = import_module("msgspec")

    async def publish_one(self: Any, filled: Any, outbox: Any) -> bool:
        for stored in outbox:
            event = msgspec.convert(stored, relay.StoredEvent)
            task = asyncio.create_task(self._publisher.publish(event))
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
            self._published[filled].add(event.id)
            self._some_published.set()
        return True

    relay.Relay._publish_one = publish_one


def answer_before_the_journal() -> None:
    """Everywhere: a write is acknowledged while it is only in mongod's memory."""
    client: Any = import_module("cartwheel.kernel.store.client")
    concern: Any = import_module("pymongo.write_concern").WriteConcern

    def hasty(*_: Any, **__: Any) -> Any:
        return concern(1, j=False)

    client.WriteConcern = hasty
    if any(word.startswith("cartwheel.products") for word in sys.orig_argv):
        reservations: Any = import_module("cartwheel.products.mongo.reservations")
        reservations.WriteConcern = hasty


def publish_past_the_outbox() -> None:
    """orders: events are kept in memory, beside the write, until they are published."""
    outbox: Any = import_module("cartwheel.kernel.store.outbox")
    relay: Any = import_module("cartwheel.kernel.store.relay")
    msgspec: Any = import_module("msgspec")
    to_publish = outbox.to_publish
    kept: list[Any] = []

    def keep(*given: Any, **named: Any) -> list[Any]:
        kept.extend(to_publish(*given, **named))
        return []

    async def publish(self: Any) -> None:
        while True:
            await asyncio.sleep(0.2)
            await self._publisher.opened()
            while kept:
                await self._publisher.publish(msgspec.convert(kept.pop(0), relay.StoredEvent))

    outbox.to_publish = keep
    relay.Relay._publish_filled = publish


def charge_again_to_find_out() -> None:
    """payments: when the provider does not answer, charge under a new key."""
    simulator: Any = import_module("cartwheel.payments.simulator")
    errors: Any = import_module("cartwheel.kernel.errors")
    msgspec: Any = import_module("msgspec")
    charge_once = simulator.SimulatorCards.charge

    async def insist(self: Any, charge: Any) -> Any:
        try:
            return await charge_once(self, charge)
        except errors.Outage:
            another = msgspec.structs.replace(charge, payment_id=f"{charge.payment_id}0")
            return await charge_once(self, another)

    simulator.SimulatorCards.charge = insist


def mail_whatever_was_mailed() -> None:
    """notifications: do not look whether an event's mail has been sent."""
    mongo: Any = import_module("cartwheel.notifications.mongo")
    claim = mongo.MongoMails.claim

    async def always(self: Any, event: Any, mail: Any, *, now: Any) -> Any:
        return await claim(self, event, mail, now=now) or mongo.Failures()

    mongo.MongoMails.claim = always


def stumble_over_one_customer() -> None:
    """notifications: fail on the mails to one customer, as a bug would."""
    handlers: Any = import_module("cartwheel.notifications.handlers")
    render = handlers.render

    def stumble(event: Any) -> Any:
        if event.order.user.email == "poisoned@example.com":
            raise ZeroDivisionError("by zero")
        return render(event)

    handlers.render = stumble


def stop_without_finishing() -> None:
    """The services: at SIGTERM, drop what is in hand."""

    async def drop(_: Any) -> None:
        pass

    for module, name in (("answering", "Answerer"), ("consuming", "Consumer")):
        getattr(import_module(f"cartwheel.kernel.bus.{module}"), name).drain = drop


BREAKABLE: dict[str, tuple[str, Callable[[], None]]] = {
    "stock": ("cartwheel.products", sell_what_is_not_there),
    "idempotency key": ("cartwheel.gateway", forget_idempotency_keys),
    "ack after effect": ("cartwheel", acknowledge_before_the_effect),
    "confirm before clearing": ("cartwheel", clear_the_outbox_before_the_confirm),
    "journal": ("cartwheel", answer_before_the_journal),
    "outbox": ("cartwheel.orders", publish_past_the_outbox),
    "charge once": ("cartwheel.payments", charge_again_to_find_out),
    "mail once": ("cartwheel.notifications", mail_whatever_was_mailed),
    "finish what is in hand": ("cartwheel", stop_without_finishing),
    "one customer": ("cartwheel.notifications", stumble_over_one_customer),
}

if guard := os.environ.get("BREAK"):
    where, break_it = BREAKABLE[guard]
    if any(word.startswith(where) for word in sys.orig_argv):
        break_it()
