"""Orders on the real MongoDB, with the real handlers of products on a second database."""

import asyncio
import secrets
import time
from datetime import datetime
from typing import NamedTuple

import pytest

from cartwheel.contracts.identity import Actor
from cartwheel.contracts.money import Money
from cartwheel.contracts.orders import (
    CancelOrder,
    GetOrder,
    GetPayableOrder,
    GetTimeline,
    ListOrders,
    OrderView,
    PayableOrder,
    PlaceOrder,
    TimelineEntry,
)
from cartwheel.contracts.payments import (
    PaymentCanceled,
    PaymentCaptured,
    PaymentDeclined,
    PaymentPending,
    PaymentRefunded,
)
from cartwheel.contracts.products import CreateProduct, ReserveStock, Stock, StockShortage
from cartwheel.kernel import Answer, CloudEvent, Created, Page, Request, answer_batch
from cartwheel.kernel.errors import Outage, Refusal
from cartwheel.kernel.lowlevel import continue_trace
from cartwheel.kernel.mongodb import Client, Database, Document, Outboxes
from cartwheel.kernel.testing import Answers
from cartwheel.orders.domain.order import CASH_DEADLINE, PAYMENT_DEADLINE, Limits
from cartwheel.orders.handlers import ending, paying, placing, reading
from cartwheel.orders.mongo import MIGRATIONS, MongoOrders
from cartwheel.products.handlers import catalogue as catalogue_handlers
from cartwheel.products.handlers import stock as stock_handlers
from cartwheel.products.mongo.catalogue import MongoCatalogue
from cartwheel.products.mongo.reservations import MongoReservations
from cartwheel.products.mongo.schema import MIGRATIONS as PRODUCTS

from ..databases import Prepared
from .examples import ADDRESS, DOLLARS, ZOE, now, place

Placed = list[Created[OrderView] | Refusal | Outage]


class Direct:
    """A bus without RabbitMQ: it passes every request to the real handler that answers it."""

    def __init__(self, *table: Answers) -> None:
        self.table = table

    async def request(self, request: Request[Answer]) -> Answer:
        [handler] = [row.handler for row in self.table if row.kind is type(request)]
        return await handler(request, time.time() + 10)


class Orders(NamedTuple):
    """The adapters and handlers of one process of the service."""

    database: Database
    orders: MongoOrders
    bus: Direct
    limits: Limits = Limits(open_orders=0)

    async def place(self, *requests: PlaceOrder) -> Placed:
        """Place orders at the same time."""
        return await asyncio.gather(*(self._place(request) for request in requests))

    async def _place(self, request: PlaceOrder) -> Created[OrderView] | Refusal | Outage:
        continue_trace(request.traceparent)
        try:
            return await placing.place_order(
                request,
                orders=self.orders,
                bus=self.bus,
                now=now,
                pay_within=PAYMENT_DEADLINE,
                limits=self.limits,
            )
        except (Refusal, Outage) as no:
            return no

    async def placed(self, request: PlaceOrder) -> OrderView:
        [answer] = await self.place(request)
        assert isinstance(answer, Created), answer
        return answer.made

    async def view(self, order_id: str) -> OrderView:
        request = GetOrder(order_id=order_id, actor=Actor(user_id="an admin", admin=True))
        [found] = await reading.get_orders([request], orders=self.orders)
        assert isinstance(found, OrderView), found
        return found

    async def timeline(self, order_id: str, actor: Actor) -> list[TimelineEntry]:
        request = GetTimeline(order_id=order_id, actor=actor)
        return await reading.get_timeline(request, orders=self.orders)

    async def told(self, order_id: str) -> list[str]:
        """Return the types of the order's events after `order.placed`."""
        outbox = (await self.document(order_id))["outbox"]
        assert [event["sequence"] for event in outbox] == list(range(1, len(outbox) + 1))
        return [event["type"] for event in outbox[1:]]

    async def list(self, request: ListOrders) -> Page[OrderView]:
        return await reading.list_orders(request, orders=self.orders)

    async def payable(self, request: GetPayableOrder) -> PayableOrder:
        [answer] = await paying.get_payable_orders([request], orders=self.orders, now=now)
        if isinstance(answer, Refusal):
            raise answer
        return answer

    async def pending(self, event: CloudEvent[PaymentPending]) -> None:
        await paying.payment_pending(event, orders=self.orders, now=now, cash_within=CASH_DEADLINE)

    async def payment_canceled(self, event: CloudEvent[PaymentCanceled]) -> None:
        await paying.payment_canceled(event, orders=self.orders, now=now)

    async def captured(self, event: CloudEvent[PaymentCaptured]) -> None:
        await paying.payment_captured(event, orders=self.orders, now=now)

    async def declined(self, event: CloudEvent[PaymentDeclined]) -> None:
        await paying.payment_declined(event, orders=self.orders, now=now)

    async def cancel(self, order_id: str, actor: Actor, reason: str | None = None) -> OrderView:
        request = CancelOrder(order_id=order_id, actor=actor, reason=reason)
        return await ending.cancel_order(request, orders=self.orders, now=now)

    async def expire(self, at: datetime) -> None:
        """Run the job for overdue orders at the time `at`."""
        await ending.expire_orders(orders=self.orders, now=lambda: at)

    async def date_older(self, at: datetime) -> None:
        """Look for orders without a deadline as if it were `at`."""
        await ending.date_older_orders(
            orders=self.orders, cash_within=CASH_DEADLINE, now=lambda: at
        )

    async def short(self, event: CloudEvent[StockShortage]) -> None:
        await ending.stock_shortage(event, orders=self.orders, now=now)

    async def refunded(self, event: CloudEvent[PaymentRefunded]) -> None:
        await ending.payment_refunded(event, orders=self.orders, now=now)

    async def document(self, order_id: str) -> Document:
        found = await self.database["orders"].find_one({"_id": order_id})
        assert found
        return found

    async def stored(self) -> int:
        return await self.database["orders"].count_documents({})


class Shelf(NamedTuple):
    """The products that are for sale, and their stock."""

    catalogue: MongoCatalogue

    async def add(self, stock: int, price: Money = DOLLARS) -> str:
        """Return the id of a new product."""
        token = secrets.token_hex(8)
        request = CreateProduct(
            request_id=token,
            body_hash="hash",
            name=f"Product {token}",
            description="",
            price=price,
            stock=stock,
        )
        made = await catalogue_handlers.create_product(request, catalogue=self.catalogue, now=now)
        return made.made.id

    async def stock(self, product_id: str) -> Stock:
        return (await self.catalogue.get_many([product_id]))[product_id].stock


@pytest.fixture
async def products_database(prepared: Prepared) -> Database:
    return await prepared(PRODUCTS)


@pytest.fixture
def shelf(products_database: Database) -> Shelf:
    return Shelf(MongoCatalogue(products_database, Outboxes()))


@pytest.fixture
async def orders(client: Client, prepared: Prepared, products_database: Database) -> Orders:
    database = await prepared(MIGRATIONS)
    reservations = MongoReservations(client, products_database, Outboxes())
    bus = Direct(
        answer_batch(ReserveStock, stock_handlers.change_stock, reservations=reservations, now=now)
    )
    return Orders(database, MongoOrders(database, Outboxes()), bus)


@pytest.fixture
async def order(orders: Orders, shelf: Shelf) -> OrderView:
    """Two mugs for Zoë, not yet paid."""
    return await orders.placed(place((await shelf.add(stock=10), 2), user=ZOE, address=ADDRESS))
