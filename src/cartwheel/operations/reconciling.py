"""`cartwheel payments reconcile`: compare payments with the provider's ledger, and repair them.

1. Write down what the ledger has from the first day to the last, and the payments of these days.
   Both are on disk: a million lines need no more memory than a thousand.
2. Have payments look at each payment in which the two differ. What has happened on other days, or
   is just happening, is not told apart before. So most of these agree.
3. Show the differences, and have payments repair those that can be, if the user agrees.
"""

import asyncio
import sqlite3
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, aclosing, closing
from datetime import UTC, date, datetime, time, timedelta

import msgspec
from rich.console import Console as Screen

from cartwheel.contracts.ledger import (
    Difference,
    DifferenceKind,
    EntryKind,
    LedgerEntry,
    ListLedger,
    Reconciled,
    ReconcilePayment,
)
from cartwheel.contracts.money import Money
from cartwheel.contracts.payments import (
    ListPayments,
    Method,
    PaymentStatus,
    PaymentView,
    RefundStatus,
)
from cartwheel.kernel import Bus
from cartwheel.operations import amounts, asking, tables
from cartwheel.operations.reaching import BusSettings
from cartwheel.operations.tables import Column

LEEWAY = timedelta(hours=1)
"""The clocks of the shop and of the provider differ by less, and most payments take less."""

LINES, PAYMENTS = 500, 100
"""How many are asked for at a time."""

AT_ONCE = 16
"""How many payments are looked at at the same time."""

MOST_SHOWN = 1000
"""Differences that are listed. All are counted, and repaired."""

_PAID = (PaymentStatus.PAID, PaymentStatus.PARTIALLY_REFUNDED, PaymentStatus.REFUNDED)
_CAPTURE = ""
"""Stands for the capture where a refund has its id."""

_SCHEMA = """
CREATE TABLE here (payment TEXT, what TEXT, amount INTEGER, currency TEXT,
    PRIMARY KEY (payment, what)) WITHOUT ROWID;
CREATE TABLE there (payment TEXT, what TEXT, amount INTEGER, currency TEXT,
    PRIMARY KEY (payment, what)) WITHOUT ROWID;
CREATE TABLE repairable (payment TEXT PRIMARY KEY) WITHOUT ROWID;
"""
_SUSPECTS = """
SELECT DISTINCT payment FROM (
    SELECT * FROM (SELECT * FROM here EXCEPT SELECT * FROM there) UNION ALL
    SELECT * FROM (SELECT * FROM there EXCEPT SELECT * FROM here)
) ORDER BY payment
"""
_WORDS = {
    DifferenceKind.NOT_HERE: "captured there, and not here",
    DifferenceKind.NOT_THERE: "captured here, and not there",
    DifferenceKind.AMOUNT_DIFFERS: "another amount",
    DifferenceKind.REFUND_DIFFERS: "a refund differs",
}
_COLUMNS = (
    Column("payment"),
    Column("difference", prose=True),
    Column("here"),
    Column("there"),
    Column("refund"),
    Column("can be repaired"),
)


class Found(msgspec.Struct, frozen=True, kw_only=True):
    payment_id: str
    difference: Difference


class Result(msgspec.Struct, kw_only=True):
    """What was found. `differences` are the first `MOST_SHOWN` of those that `count` counts.

    `left` counts those that there are in the end.
    """

    since: datetime
    until: datetime
    lines: int = 0
    payments: int = 0
    looked_at: int = 0
    count: int = 0
    repairable: int = 0
    left: int = 0
    differences: list[Found] = msgspec.field(default_factory=list[Found])


Progress = Callable[[str], None]
Doing = Callable[[str], AbstractContextManager[Progress]]
"""Shows what is being done for as long as the body runs. The yielded function adds how far."""


def days(day: date | None, now: datetime) -> tuple[datetime, datetime]:
    """Return when `day` begins and ends, in UTC; without one, of yesterday and today."""
    if day is None:
        yesterday = now.astimezone(UTC).date() - timedelta(days=1)
        return datetime.combine(yesterday, time(), UTC), now
    begin = datetime.combine(day, time(), UTC)
    return begin, min(begin + timedelta(days=1), now)


async def reconciled(
    settings: BusSettings, day: date | None, *, agreed: Callable[[Result], bool], doing: Doing
) -> Result:
    """Do what `compared` does, with the services of the running system."""
    async with asking.bus(settings) as bus:
        return await compared(bus, day, agreed=agreed, doing=doing)


async def compared(
    bus: Bus, day: date | None, *, agreed: Callable[[Result], bool], doing: Doing
) -> Result:
    """Compare the payments of `day`, or of yesterday and today; repair what `agreed` permits.

    Nothing is asked if nothing can be repaired. If the command ends in the middle, all that it has
    repaired is repaired, and it may be run again.

    Raises:
        Refusal, Outage: payments or the provider does not answer.
    """
    since, until = days(day, datetime.now(UTC))
    result = Result(since=since, until=until)
    # A database without a name is a temporary file (https://www.sqlite.org/inmemorydb.html).
    with closing(sqlite3.connect("", isolation_level=None)) as notes:
        notes.executescript(_SCHEMA)
        with doing("reading the provider's ledger") as progress:
            await _note_ledger(bus, notes, result, progress)
        with doing("reading the payments") as progress:
            await _note_payments(bus, notes, result, progress)
        with doing("looking at payments that differ") as progress:
            suspects = (row[0] for row in notes.execute(_SUSPECTS))
            await _look(bus, suspects, notes, result, progress)
        result.left = result.count
        # In a thread: while somebody makes up their mind, the connection must stay alive.
        if result.repairable and await asyncio.to_thread(agreed, result):
            with doing("repairing") as progress:
                repairable = (row[0] for row in notes.execute("SELECT payment FROM repairable"))
                await _repair(bus, repairable, result, progress)
    return result


async def _note_ledger(
    bus: Bus, notes: sqlite3.Connection, result: Result, progress: Progress
) -> None:
    cursor = None
    while True:
        page = await bus.request(
            ListLedger(
                since=result.since - LEEWAY,
                until=result.until + LEEWAY,
                limit=LINES,
                cursor=cursor,
                actor=asking.operator(),
            )
        )
        for entry in page.data:
            _note_entry(notes, entry)
        result.lines += len(page.data)
        progress(f"{result.lines:,} lines")
        cursor = page.next_cursor
        if cursor is None:
            return


def _note_entry(notes: sqlite3.Connection, entry: LedgerEntry) -> None:
    what = _CAPTURE if entry.kind is EntryKind.CAPTURED else entry.refund_id
    if what is None:
        return
    if entry.kind is EntryKind.REFUND_FAILED:
        notes.execute("DELETE FROM there WHERE (payment, what) = (?, ?)", (entry.payment_id, what))
    elif entry.amount is not None:
        _note(notes, "there", entry.payment_id, what, entry.amount)


async def _note_payments(
    bus: Bus, notes: sqlite3.Connection, result: Result, progress: Progress
) -> None:
    cursor = None
    while True:
        page = await bus.request(
            ListPayments(
                limit=PAYMENTS,
                cursor=cursor,
                created_after=result.since,
                created_before=result.until,
                actor=asking.operator(),
            )
        )
        for payment in page.data:
            _note_payment(notes, payment)
        result.payments += len(page.data)
        progress(f"{result.payments:,} payments")
        cursor = page.next_cursor
        if cursor is None:
            return


def _note_payment(notes: sqlite3.Connection, payment: PaymentView) -> None:
    if payment.method is Method.CASH_ON_DELIVERY:
        return
    if payment.status in _PAID:
        _note(notes, "here", payment.id, _CAPTURE, payment.amount)
    for refund in payment.refunds:
        made = refund.status is RefundStatus.SUCCEEDED and not refund.by_other_means
        if made and refund.provider is None:
            _note(notes, "here", payment.id, refund.id, refund.amount)


def _note(notes: sqlite3.Connection, side: str, payment_id: str, what: str, amount: Money) -> None:
    row = (payment_id, what, amount.amount, amount.currency)
    notes.execute(f"INSERT OR REPLACE INTO {side} VALUES (?, ?, ?, ?)", row)  # noqa: S608 (constants)


async def _look(
    bus: Bus,
    payment_ids: Iterator[str],
    notes: sqlite3.Connection,
    result: Result,
    progress: Progress,
) -> None:
    async with aclosing(_each(bus, payment_ids, repair=False)) as answers:
        async for answer in answers:
            result.looked_at += 1
            found = [Found(payment_id=answer.payment_id, difference=d) for d in answer.differences]
            result.count += len(found)
            result.differences += found[: MOST_SHOWN - len(result.differences)]
            if repairable := sum(each.repairable for each in answer.differences):
                result.repairable += repairable
                notes.execute("INSERT OR IGNORE INTO repairable VALUES (?)", (answer.payment_id,))
            progress(f"{result.looked_at:,} payments looked at, {result.count:,} differences")


async def _repair(bus: Bus, payment_ids: Iterator[str], result: Result, progress: Progress) -> None:
    async with aclosing(_each(bus, payment_ids, repair=True)) as answers:
        async for answer in answers:
            result.left -= len(answer.differences) - len(answer.left)
            progress(f"{result.count - result.left:,} differences repaired")


async def _each(
    bus: Bus, payment_ids: Iterator[str], *, repair: bool
) -> AsyncGenerator[Reconciled]:
    """Have payments look at each of these payments, some at the same time."""
    actor = asking.operator()
    while some := [each for each, _ in zip(payment_ids, range(AT_ONCE), strict=False)]:
        for answer in await asyncio.gather(
            *(
                bus.request(ReconcilePayment(payment_id=each, repair=repair, actor=actor))
                for each in some
            )
        ):
            yield answer


def show_json(result: Result, screen: Screen) -> None:
    screen.out(msgspec.json.encode(result).decode(), highlight=False)


def show(result: Result, screen: Screen) -> None:
    """Print the differences, and what was compared."""
    if result.differences:
        tables.show(_COLUMNS, [_row(each) for each in result.differences], screen)
    if result.count > len(result.differences):
        more = result.count - len(result.differences)
        screen.print(f"and {more:,} more", highlight=False)
    screen.print(_compared(result), highlight=False, soft_wrap=True)


def _compared(result: Result) -> str:
    kinds = Counter(each.difference.kind for each in result.differences)
    words = ", ".join(f"{count} × {_WORDS[kind]}" for kind, count in kinds.items())  # noqa: RUF001 a multiplication sign is meant
    return (
        f"{result.payments:,} payments from {result.since:%Y-%m-%d %H:%M} to"
        f" {result.until:%Y-%m-%d %H:%M} UTC, and {result.lines:,} lines of the provider's ledger:"
        f" {result.count:,} differences{f' ({words})' if words else ''}"
    )


def _row(found: Found) -> Sequence[str]:
    difference = found.difference
    return (
        found.payment_id,
        _WORDS[difference.kind],
        amounts.written(difference.here) if difference.here else "nothing",
        amounts.written(difference.there) if difference.there else "nothing",
        difference.refund_id or "",
        "yes" if difference.repairable else "no",
    )
