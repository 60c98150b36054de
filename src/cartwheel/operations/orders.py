"""`cartwheel orders`: an order with what happened to it, and its cancellation."""

from datetime import datetime

import msgspec
from rich.console import Console
from rich.text import Text

from cartwheel.contracts.order_number import read_number
from cartwheel.contracts.orders import (
    CancelOrder,
    GetOrder,
    GetTimeline,
    ListOrders,
    OrderNotFound,
    OrderView,
)
from cartwheel.contracts.parcels import Pieces
from cartwheel.contracts.payments import GetPaymentTimeline, ListPayments, PaymentView
from cartwheel.contracts.text import one_line
from cartwheel.contracts.timeline import TimelineEntry
from cartwheel.kernel.lowlevel import RpcClient
from cartwheel.operations import amounts, asking, tables
from cartwheel.operations.reaching import BusSettings
from cartwheel.operations.tables import Column

MOST_PAYMENTS = 100
"""An order takes a few."""

_COLUMNS = (
    Column("at"),
    Column("what happened", prose=True),
    Column("by"),
    Column("event"),
    Column("because of"),
)


class Whole(msgspec.Struct, frozen=True, kw_only=True):
    """An order, its payments, and what happened to all of them, oldest first."""

    order: OrderView
    payments: list[PaymentView]
    timeline: list[TimelineEntry]


async def shown(settings: BusSettings, which: str) -> Whole:
    """Return the order with this number or id.

    Raises:
        OrderNotFound: there is none.
    """
    actor = asking.operator()
    async with asking.bus(settings) as asks:
        order = await found(asks, which)
        page = await asks.request(ListPayments(limit=MOST_PAYMENTS, order_id=order.id, actor=actor))
        entries = await asks.request(GetTimeline(order_id=order.id, actor=actor))
        for payment in page.data:
            entries += await asks.request(GetPaymentTimeline(payment_id=payment.id, actor=actor))
    return Whole(order=order, payments=page.data, timeline=sorted(entries, key=_when))


async def canceled(settings: BusSettings, which: str, *, reason: str) -> OrderView:
    """Cancel the order with this number or id, and return it.

    Raises:
        OrderNotFound: there is none.
        InvalidTransition: it has ended already.
    """
    async with asking.bus(settings) as asks:
        order = await found(asks, which)
        return await asks.request(
            CancelOrder(order_id=order.id, reason=reason, actor=asking.operator())
        )


async def found(asks: RpcClient, which: str) -> OrderView:
    """Return the order with this number or id.

    Raises:
        OrderNotFound: there is none.
    """
    actor = asking.operator()
    number = read_number(which)
    if number is None:
        return await asks.request(GetOrder(order_id=which, actor=actor))
    page = await asks.request(ListOrders(limit=1, number=number, actor=actor))
    if not page.data:
        raise OrderNotFound(f"There is no order {number}.")
    return page.data[0]


def show_json(found: Whole | OrderView, console: Console) -> None:
    console.out(msgspec.json.encode(found).decode(), highlight=False)


def show_whole(whole: Whole, console: Console) -> None:
    order = whole.order
    console.print(Text(f"{order.number}: {order.status}", style="bold"), soft_wrap=True)
    console.print(Text(_about(whole)), soft_wrap=True)
    tables.show(_COLUMNS, [_row(entry) for entry in whole.timeline], console)


def _about(whole: Whole) -> str:
    order = whole.order
    lines = [
        f"id        {order.id}",
        f"customer  {order.user.name} <{order.user.email}>",
        f"total     {amounts.written(order.total)}",
        *(f"line      {line.quantity} of {line.name} ({line.product_id})" for line in order.lines),
        *(
            f"parcel    {each.id}: {each.status}" + (f", {each.tracking}" if each.tracking else "")
            for each in order.shipments
        ),
        *(
            f"off       {_pieces(each.lines)} pieces are never shipped: {each.reason}"
            for each in order.called_off
        ),
        *(f"return    {each.id}: {each.status}, {each.reason}" for each in order.returns),
        *(
            f"payment   {each.id}: {each.status}, {each.method}"
            + (f", reserved until {each.capture_before:%F %H:%M}" if each.capture_before else "")
            + (f", {each.failure.code}" if each.failure else "")
            for each in whole.payments
        ),
    ]
    # Customers choose names, and a name may try to move the cursor.
    return "\n".join(one_line(line, longest=len(line)) for line in lines) + "\n"


def _pieces(lines: list[Pieces]) -> int:
    return sum(line.quantity for line in lines)


def _when(entry: TimelineEntry) -> datetime:
    return entry.at


def _row(entry: TimelineEntry) -> tuple[str, ...]:
    text = entry.text or entry.type
    return (
        f"{entry.at:%Y-%m-%d %H:%M:%S}",
        f"{text} {entry.note}" if entry.note else text,
        entry.by,
        entry.event_id or "",
        entry.because_of or "",
    )
