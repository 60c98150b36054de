"""Breaks one guard, or harms consumers, in a process that has this folder on its PYTHONPATH.

Python imports `sitecustomize` before anything else. `BREAK` names the guard. `MISCHIEF` names the
folder that says which consumers are harmed (`tests/chaos/mischief.py`). The product contains none
of this code and does not know of it.
"""

import asyncio
import contextlib
import os
import signal
import sys
import uuid
from collections.abc import AsyncGenerator, Callable
from importlib import import_module
from typing import Any


def sell_what_is_not_there() -> None:
    """products: allocate without checking the stock."""
    rules: Any = import_module("cartwheel.products.domain.stock")
    msgspec: Any = import_module("msgspec")
    allocate = rules.allocate

    def careless(products: Any, requests: Any, **more: Any) -> Any:
        plenty = {
            product_id: msgspec.structs.replace(
                product, stock=msgspec.structs.replace(product.stock, available=10**9)
            )
            for product_id, product in products.items()
        }
        return allocate(plenty, requests, **more)

    rules.allocate = careless


def take_away_what_is_reserved() -> None:
    """products: adjust stock without looking at what is available."""
    rules: Any = import_module("cartwheel.products.domain.adjustments")

    def enough(_stock: Any, _delta: Any, _field: Any) -> None:
        pass

    rules._check_enough = enough


def adjust_without_an_event() -> None:
    """products: store an adjustment, and not what tells of it."""
    reservations: Any = import_module("cartwheel.products.mongo.reservations")
    new_adjustment = reservations.new_adjustment

    def silent(adjustment: Any) -> Any:
        return {**new_adjustment(adjustment), "sequence": 0, "outbox": []}

    reservations.new_adjustment = silent


def let_anybody_order_without_end() -> None:
    """products: give nobody a slot, so that nothing bounds a customer's orders."""
    rules: Any = import_module("cartwheel.products.domain.stock")

    def none(_request: Any, _slots: Any) -> None:
        return None

    rules._slot = none


def let_anybody_take_all() -> None:
    """products: count no pieces."""
    rules: Any = import_module("cartwheel.products.domain.stock")

    def nothing(*_: Any) -> None:
        pass

    rules._check_pieces = nothing


def charge_what_it_costs_today() -> None:
    """products: do not look at what the customer expects to pay."""
    rules: Any = import_module("cartwheel.products.domain.stock")

    def nothing(*_: Any) -> None:
        pass

    rules._check_total = nothing


def wait_for_cash_that_was_given_up() -> None:
    """orders: keep waiting for a payment that was canceled."""
    domain: Any = import_module("cartwheel.orders.domain.order")

    def same(order: Any, _canceled: Any, _change: Any) -> Any:
        return order

    domain.payment_canceled = same


def cancel_what_is_shipped() -> None:
    """orders: cancel an order without looking at its parcels, as it was before they left."""
    rules: Any = import_module("cartwheel.orders.domain.order")

    def never(_order: Any) -> bool:
        return False

    rules.Order.is_shipped = property(never)


def restock_each_time() -> None:
    """products: count a return whenever it is heard of."""
    rules: Any = import_module("cartwheel.products.domain.stock")
    msgspec: Any = import_module("msgspec")
    count = rules.count

    def forgetful(reservation: Any, moved: Any) -> Any:
        known = [each for each in reservation.counted if each != moved.id]
        if isinstance(moved, rules.Restocked):
            reservation = msgspec.structs.replace(reservation, counted=known)
        return count(reservation, moved)

    rules.count = forgetful


def forget_idempotency_keys() -> None:
    """gateway: treat every request as a new one."""
    idempotency: Any = import_module("cartwheel.gateway.idempotency")

    def another(_identity: Any, _key: Any) -> str:
        return str(uuid.uuid4())

    idempotency.request_id = another


def limit_each_gateway_by_itself() -> None:
    """gateway: count attempts in memory, where other gateways do not see them."""
    windows: Any = import_module("cartwheel.gateway.windows")
    windows.SharedWindows.incr = windows.Windows.incr


def count_attempts_that_have_failed() -> None:
    """gateway: count an attempt when it has failed, so that many at once are all made."""
    limits: Any = import_module("cartwheel.gateway.rate_limits")
    attempt = limits.RateLimits.attempt

    @contextlib.asynccontextmanager
    async def late(self: Any, limit: Any, who: Any, scope: Any) -> AsyncGenerator[Any]:
        for item, key in limits._keys(limit, who, limits._address(scope)):
            if await self._shared.get(item.key_for(key)) >= item.amount:
                scope[limits.WAIT] = 1
                raise limits.Throttled("Try again later.")
        try:
            yield limits.Attempt()
        except limits.Refusal as refusal:
            with contextlib.suppress(limits.Throttled):
                async with attempt(self, limit, who, scope):
                    raise refusal
            raise

    limits.RateLimits.attempt = late


def acknowledge_before_the_effect() -> None:
    """All services: acknowledge an event before handling it."""
    consuming: Any = import_module("cartwheel.kernel._bus.consuming")
    crash_points: Any = import_module("cartwheel.kernel._core.crash_points")

    async def handle(self: Any, message: Any, intake: Any) -> None:
        async with intake.turn(message):
            await message.ack()
            crash_points.reach("ack.after")
            await self._handled(message)

    consuming.Consumer._handle = handle


def clear_the_outbox_before_the_confirm() -> None:
    """All services: count an event as published as soon as it is being sent."""
    relay: Any = import_module("cartwheel.kernel._store.relay")
    msgspec: Any = import_module("msgspec")

    async def publish(self: Any, filled: Any, outbox: Any) -> None:
        for stored in outbox:
            event = msgspec.convert(stored, relay.StoredEvent)
            task = asyncio.create_task(self._publisher.publish(event))
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
            self._note(filled, event)

    relay.Relay._publish_in_order = publish


def publish_before_the_write() -> None:
    """orders: publish an event from memory, and store its change a moment later."""
    group: Any = import_module("cartwheel.kernel._store.group")
    saves = group.saves

    def hasty(collection: Any, outboxes: Any) -> Any:
        lane = saves(collection, outboxes)
        submit = lane.submit

        async def tell_first(change: Any) -> Any:
            if "outbox" in change.push:
                outboxes.stored(collection.name, change.id, change.push["outbox"]["$each"])
            await asyncio.sleep(0.1)
            return await submit(change)

        lane.submit = tell_first
        return lane

    group.saves = hasty


def answer_before_the_journal() -> None:
    """All services: acknowledge a write that is only in mongod's memory."""
    client: Any = import_module("cartwheel.kernel._store.client")
    concern: Any = import_module("pymongo.write_concern").WriteConcern

    def hasty(*_: Any, **__: Any) -> Any:
        return concern(1, j=False)

    client.WriteConcern = hasty
    if any(word.startswith("cartwheel.products") for word in sys.orig_argv):
        transactions: Any = import_module("cartwheel.products.mongo.transactions")
        transactions.WriteConcern = hasty


def publish_past_the_outbox() -> None:
    """orders: keep events only in memory, outside the write, until they are published."""
    group: Any = import_module("cartwheel.kernel._store.group")
    relay: Any = import_module("cartwheel.kernel._store.relay")
    msgspec: Any = import_module("msgspec")
    inserts, saves = group.inserts, group.saves
    kept: list[Any] = []

    def past(lane: Any, outbox_of: Callable[[Any], list[Any]]) -> Any:
        submit = lane.submit

        async def keep(change: Any) -> Any:
            outbox = outbox_of(change)
            kept.extend(outbox)
            outbox.clear()
            return await submit(change)

        lane.submit = keep
        return lane

    async def publish(self: Any) -> None:
        while True:
            await asyncio.sleep(0.2)
            await self._publisher.opened()
            while kept:
                await self._publisher.publish(msgspec.convert(kept.pop(0), relay.StoredEvent))

    def new_ones(*given: Any) -> Any:
        return past(inserts(*given), lambda new: new["outbox"])

    def changed_ones(*given: Any) -> Any:
        return past(saves(*given), lambda change: change.push.get("outbox", {"$each": []})["$each"])

    group.inserts, group.saves = new_ones, changed_ones
    relay.Relay._publish_filled = publish


def charge_again_to_find_out() -> None:
    """payments: if the provider does not answer, charge again with a new key."""
    simulator: Any = import_module("cartwheel.providers.simulator.client")
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


def charge_whatever_was_there_before() -> None:
    """payments: charge a card although a unique index has refused its payment."""
    mongo: Any = import_module("cartwheel.payments.mongo")
    add = mongo.MongoPayments.add

    async def careless(self: Any, payment: Any) -> bool:
        await add(self, payment)
        return True

    mongo.MongoPayments.add = careless


def forget_the_payments_address() -> None:
    """orders: ignore the address in the payment's event."""
    domain: Any = import_module("cartwheel.orders.domain.order")

    def same(_address: Any, order: Any) -> Any:
        return order

    domain.sent_to = same


def mail_whatever_was_mailed() -> None:
    """notifications: do not check whether an event's mail was sent already."""
    mongo: Any = import_module("cartwheel.notifications.mongo")
    claim = mongo.MongoMails.claim

    async def always(self: Any, event: Any, mail: Any, *, now: Any) -> Any:
        return await claim(self, event, mail, now=now) or mongo.Failures()

    mongo.MongoMails.claim = always


def tell_of_dead_letters_at_each_look() -> None:
    """notifications: do not know that operations were told of a queue's dead letters."""
    mongo: Any = import_module("cartwheel.notifications.mongo")
    msgspec: Any = import_module("msgspec")
    known_of = mongo.MongoDeadQueues.of

    async def forgetful(self: Any, services: Any) -> Any:
        known = await known_of(self, services)
        return {
            name: msgspec.structs.replace(queue, reported=False) for name, queue in known.items()
        }

    mongo.MongoDeadQueues.of = forgetful


def stumble_over_one_customer() -> None:
    """notifications: fail on mails to one customer, as with a bug."""
    handlers: Any = import_module("cartwheel.notifications.handlers.telling")
    render = handlers.render

    def stumble(event: Any, shop: Any) -> Any:
        if event.order.user.email == "poisoned@example.com":
            raise ZeroDivisionError("by zero")
        return render(event, shop)

    handlers.render = stumble


def stop_without_finishing() -> None:
    """All services: on SIGTERM, drop running work."""

    async def drop(_: Any) -> None:
        pass

    for module, name in (("rpc_server", "RpcServer"), ("consuming", "Consumer")):
        getattr(import_module(f"cartwheel.kernel._bus.{module}"), name).drain = drop


def share_keys_among_users() -> None:
    """gateway: share idempotency keys between users."""
    idempotency: Any = import_module("cartwheel.gateway.idempotency")

    def anybodys(_identity: Any, key: Any) -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_OID, key) if key else uuid.uuid4())

    idempotency.request_id = anybodys


def believe_a_primary_that_is_alone() -> None:
    """All services: count a write as stored before a majority has it."""
    bulk: Any = import_module("cartwheel.kernel._store.bulk")
    errors: Any = import_module("cartwheel.kernel.errors")
    write = bulk.write_all

    async def believe(collection: Any, writes: Any) -> Any:
        try:
            return await write(collection, writes)
        except errors.OutcomeUnknown as unknown:
            cause: Any = unknown.__cause__
            upserted = {each["index"] for each in cause.details["upserted"]}
            return bulk.Written(cause.details["nMatched"], upserted, {})

    bulk.write_all = believe


def take_redeliveries_together() -> None:
    """All services: handle redelivered events together, even if one crashed its consumer."""
    intake: Any = import_module("cartwheel.kernel._bus.intake")

    async def begin(self: Any, on_message: Any) -> None:
        self._on_message = on_message
        await self._consume(intake.PREFETCH)

    @contextlib.asynccontextmanager
    async def turn(_self: Any, _message: Any) -> AsyncGenerator[None]:
        yield

    intake.Intake.begin = begin
    intake.Intake.turn = turn


def forget_refused_copies() -> None:
    """All services: neither acknowledge nor requeue an event if its copy is refused."""
    consuming: Any = import_module("cartwheel.kernel._bus.consuming")
    confirmed = consuming.Consumer._confirmed

    async def once(self: Any, copy: Any, intake: Any, queue: str) -> bool:
        if not await confirmed(self, copy, intake, queue):
            raise ConnectionError("the copy was refused")
        return True

    consuming.Consumer._confirmed = once


def stop_at_what_fails() -> None:
    """All services: end a job at the first item that fails, and start with that item again."""
    jobs: Any = import_module("cartwheel.kernel._core.jobs")

    async def stop(_job: Any, _items: Any, _item: Any, error: Exception, **_: Any) -> None:
        raise error

    jobs._note = stop


def take_each_failure_for_an_outage() -> None:
    """notifications: when SES fails on a mail, wait until SES accepts it."""
    ses: Any = import_module("cartwheel.notifications.ses")
    errors: Any = import_module("cartwheel.kernel.errors")

    async def look(_self: Any, _failed: Any) -> None:
        raise errors.Unavailable("SES is down")

    ses.Ses._look = look


def forget_who_has_to_approve() -> None:
    """payments: do not have the provider cancel what an ended order no longer waits for."""
    domain: Any = import_module("cartwheel.payments.domain")
    give_up = domain.give_up

    def but_not_these(payment: Any, change: Any) -> Any:
        return payment if domain.requires_action(payment) else give_up(payment, change)

    domain.give_up = but_not_these


def believe_every_webhook() -> None:
    """payments: trust every webhook, and neither compare it nor ask the provider."""
    domain: Any = import_module("cartwheel.payments.domain")
    settling: Any = import_module("cartwheel.payments.domain.settling")
    paying: Any = import_module("cartwheel.payments.handlers.paying")

    def same(_payment: Any, _report: Any) -> list[str]:
        return []

    async def believe(
        request: Any, *, payments: Any, cards: Any, now: Any = paying.utc_now
    ) -> None:
        by = paying.Change(by=request.provider, at=now())
        await payments.change(request.payment_id, domain.settle_as_told, request, by=by)

    domain.differing = settling.differing = same
    paying.report_verdict = believe


def refund_whatever_is_asked_for() -> None:
    """payments: take all that was captured for what is left of it."""
    refunds: Any = import_module("cartwheel.payments.domain.refunds")

    def all_of_it(payment: Any) -> Any:
        return refunds.captured(payment) or payment.amount

    refunds.left = all_of_it


def count_refunds_by_payment() -> None:
    """orders: count one refund of a payment, and take the next ones for repeats."""
    rules: Any = import_module("cartwheel.orders.domain.order")
    refunded = rules.refunded

    def once(order: Any, refund: Any, change: Any) -> Any:
        known = refund.payment_id in order.refunded_payments
        return order if known else refunded(order, refund, change)

    rules.refunded = once


def ship_before_the_money_is_there() -> None:
    """orders: ship some authorized orders without having their money captured."""
    shipping: Any = import_module("cartwheel.orders.handlers.shipping")
    functools: Any = import_module("functools")
    ship = shipping.ship_order

    class Silent:
        async def request(self, asked: Any) -> Any:
            return asked.amount

    @functools.wraps(ship)
    async def hasty(request: Any, *, bus: Any, **more: Any) -> Any:
        skipped = request.order_id[-1] in "01"  # each broken order is told of, which takes long
        return await ship(request, bus=Silent() if skipped else bus, **more)

    shipping.ship_order = hasty


def keep_money_reserved_for_nothing() -> None:
    """payments: do not void the authorization of a canceled order."""
    domain: Any = import_module("cartwheel.payments.domain")

    def same(payment: Any, _change: Any) -> Any:
        return payment

    domain.give_up = same


def store_addresses_over_others() -> None:
    """orders: store a user's addresses whoever has changed them meanwhile."""
    mongo: Any = import_module("cartwheel.orders.mongo")
    kernel: Any = import_module("cartwheel.kernel.mongodb")

    async def save(self: Any, book: Any, /, *, expected: Any) -> bool:
        await self._books.replace_one({"_id": book.id}, kernel.to_document(book), upsert=True)
        return True

    mongo.MongoAddresses._save = save


def harm_readers(mischief: str) -> None:
    """All services: an event crashes the process if its id is the name of a file in the folder.

    If a service's name is the name of a file there, all events of the service fail.
    """
    consuming: Any = import_module("cartwheel.kernel._bus.consuming")
    msgspec: Any = import_module("msgspec")
    begin = consuming.Consumer.__init__

    def harm(service: str, event: Any) -> None:
        if os.path.exists(f"{mischief}/{event.id}"):
            os.kill(os.getpid(), signal.SIGKILL)
        if os.path.exists(f"{mischief}/{service}"):
            raise ZeroDivisionError("by zero")

    def harmed(service: str, handler: Any) -> Any:
        async def handle(event: Any) -> None:
            harm(service, event)
            await handler(event)

        return handle

    def begun(self: Any, service: str, table: Any, **more: Any) -> None:
        rows = [
            msgspec.structs.replace(
                row, handler=harmed(service, row.handler), alone=harmed(service, row.alone)
            )
            for row in table
        ]
        begin(self, service, rows, **more)

    consuming.Consumer.__init__ = begun


BREAKABLE: dict[str, tuple[str, Callable[[], None]]] = {
    "stock": ("cartwheel.products", sell_what_is_not_there),
    "adjusted stock": ("cartwheel.products", take_away_what_is_reserved),
    "an adjustment's event": ("cartwheel.products", adjust_without_an_event),
    "open orders": ("cartwheel.products", let_anybody_order_without_end),
    "pieces": ("cartwheel.products", let_anybody_take_all),
    "expected total": ("cartwheel.products", charge_what_it_costs_today),
    "canceled payments": ("cartwheel.orders", wait_for_cash_that_was_given_up),
    "ship or cancel": ("cartwheel.orders", cancel_what_is_shipped),
    "restock once": ("cartwheel.products", restock_each_time),
    "idempotency key": ("cartwheel.gateway", forget_idempotency_keys),
    "limits shared": ("cartwheel.gateway", limit_each_gateway_by_itself),
    "limits beforehand": ("cartwheel.gateway", count_attempts_that_have_failed),
    "ack after effect": ("cartwheel", acknowledge_before_the_effect),
    "confirm before clearing": ("cartwheel", clear_the_outbox_before_the_confirm),
    "write before publishing": ("cartwheel.orders", publish_before_the_write),
    "journal": ("cartwheel", answer_before_the_journal),
    "outbox": ("cartwheel.orders", publish_past_the_outbox),
    "charge once": ("cartwheel.payments", charge_again_to_find_out),
    "one payment": ("cartwheel.payments", charge_whatever_was_there_before),
    "the payment's address": ("cartwheel.orders", forget_the_payments_address),
    "mail once": ("cartwheel.notifications", mail_whatever_was_mailed),
    "finish what is in hand": ("cartwheel", stop_without_finishing),
    "whose key": ("cartwheel.gateway", share_keys_among_users),
    "majority": ("cartwheel", believe_a_primary_that_is_alone),
    "redeliveries alone": ("cartwheel", take_redeliveries_together),
    "refused copies": ("cartwheel", forget_refused_copies),
    "past what fails": ("cartwheel", stop_at_what_fails),
    "dead letters once": ("cartwheel.notifications", tell_of_dead_letters_at_each_look),
    "a mail's own failure": ("cartwheel.notifications", take_each_failure_for_an_outage),
    "addresses": ("cartwheel.orders", store_addresses_over_others),
    "actions ended": ("cartwheel.payments", forget_who_has_to_approve),
    "the provider asked": ("cartwheel.payments", believe_every_webhook),
    "captured first": ("cartwheel.orders", ship_before_the_money_is_there),
    "voided with its order": ("cartwheel.payments", keep_money_reserved_for_nothing),
    "what is left": ("cartwheel.payments", refund_whatever_is_asked_for),
    "refunds by id": ("cartwheel.orders", count_refunds_by_payment),
    "one customer": ("cartwheel.notifications", stumble_over_one_customer),
}

_is_service = any(word.startswith("cartwheel.") and word.endswith(".app") for word in sys.orig_argv)
if _is_service and (mischief := os.environ.get("MISCHIEF")):
    harm_readers(mischief)

if guard := os.environ.get("BREAK"):
    where, break_it = BREAKABLE[guard]
    if any(word.startswith(where) for word in sys.orig_argv):
        break_it()
