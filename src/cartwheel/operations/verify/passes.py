"""The whole run: check everything, wait a moment, and check the mismatches again.

On a running system nearly every mismatch is work in flight: an event on its way, or a verdict that
is not stored yet. So the first look reports no violations. At the second look, a mismatch is still
in flight in three cases: a document about its order is younger than the grace period; such a
document has events to publish; or the service that would resolve it has had events waiting all
the time. A mismatch that waits for a dead-lettered event is counted separately. After a day
(`Patience.stuck_after`), waiting events no longer excuse a mismatch.
"""

from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta

import msgspec

from cartwheel.kernel import utc_now
from cartwheel.kernel.mongodb import UNPUBLISHED
from cartwheel.operations.verify import (
    actions,
    authorizations,
    effects,
    goods,
    ledger,
    mails,
    money,
    reading,
    records,
    stock,
)
from cartwheel.operations.verify.authorizations import AUTHORIZED
from cartwheel.operations.verify.case import Case, in_flight, stuck
from cartwheel.operations.verify.ledger import LedgerSettings
from cartwheel.operations.verify.money import TAKEN
from cartwheel.operations.verify.noticed import Noticed
from cartwheel.operations.verify.patience import Patience
from cartwheel.operations.verify.queues import Queues
from cartwheel.operations.verify.reading import Databases
from cartwheel.operations.verify.records import LedgerLine, Product, Seen, Unpublished
from cartwheel.operations.verify.spool import Spool, Suspect
from cartwheel.operations.verify.stock import AddedUp
from cartwheel.operations.verify.violation import Violation

Tell = Callable[[Violation], None]
Progress = Callable[[str, int], None]
"""Gets the kind of documents being read, and how many were read since the last call."""

_AT_ONCE = 200


class World(msgspec.Struct, frozen=True, kw_only=True):
    """What is verified, and how patiently. The second look follows after `again_after`."""

    databases: Databases
    ledger: LedgerSettings
    queues: Queues
    spool: Spool
    patience: Patience = Patience()
    again_after: timedelta = timedelta(seconds=2)


class Excused(msgspec.Struct):
    """Mismatches that are not violations: in flight, or waiting for a dead-lettered event."""

    in_flight: int = 0
    dead_lettered: int = 0


async def verify(world: World, *, tell: Tell, progress: Progress) -> tuple[Excused, Noticed]:
    """Report every violation to `tell`; return the excused mismatches and other findings.

    Raises:
        NotRunning: a dependency does not answer.
        records.Unreadable: a document does not have the shape that its service stores.
    """
    await ledger.fetch(world.ledger, world.spool)
    noticed = await _first_look(world, progress)
    excused = Excused()
    if not world.spool.any_suspects():
        return excused, noticed
    busy = await world.queues.never_empty(world.again_after)
    await ledger.fetch(world.ledger, world.spool)
    async for letters in world.queues.dead_letters():
        world.spool.add_dead_letters(
            (each.subject, each.service) for each in letters if each.subject
        )
    progress("looking again", 0)
    await _orders_again(world, busy, excused, tell)
    await _products_again(world, tell)
    await _outboxes_again(world, tell)
    await _charges_again(world, excused, tell)
    await _owners_again(world, tell)
    return excused, noticed


def check(case: Case, patience: Patience, now: datetime) -> list[Violation]:
    return [
        *money.check(case, patience, now),
        *authorizations.check(case, patience, now),
        *actions.check(case, patience, now),
        *effects.check(case, patience, now),
        *goods.check(case, patience, now),
        *mails.check(case, patience, now),
    ]


def _check_product(product: Product | None, added_up: AddedUp) -> list[Violation]:
    wrong = stock.check(product, added_up)
    if product is not None:
        wrong += effects.outbox_is_the_end(product.outbox, product.sequence, product.id)
    return wrong


async def _first_look(world: World, progress: Progress) -> Noticed:
    spool = world.spool
    noticed = Noticed()
    orders = world.databases.orders["orders"]
    async for order_ids in _walk(orders, world, noticed, progress):
        await _suspect_orders(world, noticed, order_ids)
    # Documents whose order does not exist.
    for collection in (
        world.databases.products["reservations"],
        world.databases.payments["payments"],
        world.databases.notifications["mail"],
    ):
        async for order_ids in _walk(collection, world, noticed, progress):
            # Mail to operations is about no order.
            lost = await reading.missing(orders, order_ids - {""})
            await _suspect_orders(world, noticed, lost)
    async for product, added_up in reading.stocks(world.databases):
        if _check_product(product, added_up):
            spool.suspect(Suspect.PRODUCT, [added_up.product_id])
        progress("products", 1)
    for collection in world.databases.with_outboxes().values():
        async for owner, outbox in _unpublished(collection):
            if effects.unpublished(outbox, owner, world.patience, utc_now()):
                spool.suspect(Suspect.OUTBOX, [f"{collection.name}/{owner}"])
    spool.suspect(
        Suspect.OWNER, [each.owner for each in await reading.shared_slots(world.databases)]
    )
    for lines in spool.lines(reading.BATCH_DOCUMENTS):
        spool.suspect(Suspect.CHARGE, [line.payment_id for line in await _strays(world, lines)])
        progress("ledger", len(lines))
    return noticed


async def _walk(
    collection: reading.Collection, world: World, noticed: Noticed, progress: Progress
) -> AsyncIterator[set[str]]:
    """Yield the ids of the orders that the documents belong to; gather findings on the way."""
    async for batch in reading.batches(collection, reading.SEEN):
        now = utc_now()
        some = [records.read(document, Seen) for document in batch]
        for seen in some:
            noticed.look_at(seen, world.patience, now)
        yield {seen.order_id or seen.id for seen in some}
        progress(collection.name, len(batch))


async def _suspect_orders(world: World, noticed: Noticed, order_ids: set[str]) -> None:
    if not order_ids:
        return
    now = utc_now()
    for case in await reading.cases(world.databases, world.spool, sorted(order_ids)):
        if check(case, world.patience, now):
            world.spool.suspect(Suspect.ORDER, [case.order_id])
        for payment in money.needing_a_person(case, world.patience, now):
            noticed.needing_a_person.add(payment)


async def _orders_again(world: World, busy: frozenset[str], excused: Excused, tell: Tell) -> None:
    for order_ids in world.spool.suspects(Suspect.ORDER, _AT_ONCE):
        now = utc_now()
        for case in await reading.cases(world.databases, world.spool, order_ids):
            wrong = check(case, world.patience, now)
            if not wrong:
                continue
            may_resolve = frozenset[str]() if stuck(case, world.patience, now) else busy
            lasting = [each for each in wrong if not may_resolve.intersection(each.awaits)]
            if in_flight(case, world.patience, now) or not lasting:
                excused.in_flight += 1
                continue
            waiting_at = world.spool.dead_lettered_for(case.subjects)
            violations = [each for each in lasting if not waiting_at.intersection(each.awaits)]
            for violation in violations:
                tell(violation)
            if len(violations) < len(lasting):
                excused.dead_lettered += 1


async def _products_again(world: World, tell: Tell) -> None:
    for product_ids in world.spool.suspects(Suspect.PRODUCT, _AT_ONCE):
        async for product, added_up in reading.stocks_at_once(world.databases, product_ids):
            for violation in _check_product(product, added_up):
                tell(violation)


async def _outboxes_again(world: World, tell: Tell) -> None:
    collections = world.databases.with_outboxes()
    for names in world.spool.suspects(Suspect.OUTBOX, _AT_ONCE):
        for name in names:
            collection, _, owner = name.partition("/")
            async for _, outbox in _unpublished(collections[collection], owner):
                for violation in effects.unpublished(outbox, owner, world.patience, utc_now()):
                    tell(violation)


async def _charges_again(world: World, excused: Excused, tell: Tell) -> None:
    for payment_ids in world.spool.suspects(Suspect.CHARGE, _AT_ONCE):
        for line in await _strays(world, world.spool.lines_of(payment_ids)):
            if utc_now() - line.at < world.patience.grace:
                excused.in_flight += 1
            else:
                tell(money.unknown_to_payments(line))


async def _owners_again(world: World, tell: Tell) -> None:
    for owners in world.spool.suspects(Suspect.OWNER, _AT_ONCE):
        for shared in await reading.shared_slots(world.databases, owners):
            tell(stock.shared_slot(shared))


async def _strays(world: World, lines: list[LedgerLine]) -> list[LedgerLine]:
    """Return the lines that moved money for payments that do not exist."""
    moved = [line for line in lines if line.kind in {*TAKEN, AUTHORIZED, "refund"}]
    payments = world.databases.payments["payments"]
    lost = await reading.missing(payments, {line.payment_id for line in moved})
    return [line for line in moved if line.payment_id in lost]


async def _unpublished(
    collection: reading.Collection, owner: str | None = None
) -> AsyncIterator[tuple[str, list[Unpublished]]]:
    query = UNPUBLISHED if owner is None else {"_id": owner, **UNPUBLISHED}
    async for batch in reading.batches(collection, {"outbox": 1}, query):
        for document in batch:
            yield document["_id"], msgspec.convert(document["outbox"], list[Unpublished])
