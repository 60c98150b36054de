"""Payments on the real MongoDB, with the real simulator, and the real handlers of orders."""

import time
from collections.abc import AsyncGenerator, Callable
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple
from uuid import uuid4

import msgspec
import pytest

from cartwheel.contracts.fulfilment import GiveUpCash
from cartwheel.contracts.identity import Actor
from cartwheel.contracts.money import Money
from cartwheel.contracts.orders import (
    GetPayableOrder,
    GetPriceOfPieces,
    OrderCanceled,
    OrderPaymentUnwanted,
    OrderRefundDue,
    ShippingAddress,
)
from cartwheel.contracts.payments import (
    CancelPayment,
    CapturePayment,
    CardToken,
    ConfirmPayment,
    CreatePayment,
    CreateRefund,
    ListPayments,
    PaymentActionRequired,
    PaymentAuthorized,
    PaymentCanceled,
    PaymentCaptured,
    PaymentDeclined,
    PaymentPending,
    PaymentView,
    Refund,
    ReportAuthorization,
    ReportDispute,
    ReportRefund,
    ReportVerdict,
)
from cartwheel.kernel import (
    Bus,
    Change,
    CloudEvent,
    Created,
    Page,
    answer,
    answer_batch,
    new_id,
)
from cartwheel.kernel.mongodb import Database, Document, Outboxes
from cartwheel.kernel.testing import until
from cartwheel.orders.domain import fulfilment
from cartwheel.orders.domain.acting import TIME_TO_ACT
from cartwheel.orders.domain.order import CASH_DEADLINE, Order
from cartwheel.orders.handlers import paying as orders_paying
from cartwheel.orders.handlers import reading as orders_reading
from cartwheel.orders.handlers import shipping as orders_shipping
from cartwheel.orders.mongo import MIGRATIONS as ORDERS
from cartwheel.orders.mongo import MongoOrders
from cartwheel.payments.domain import Expiring
from cartwheel.payments.domain.return_urls import ReturnUrls
from cartwheel.payments.handlers import capturing, paying, reading, reconciling, refunding
from cartwheel.payments.mongo import MIGRATIONS, MongoPayments
from cartwheel.providers.port import Outcome, Verdict
from cartwheel.providers.simulator.client import SimulatorCards, open_simulator

from ..databases import Prepared
from ..orders import examples as orders_examples
from ..orders.conftest import Direct
from ..orders.examples import ADDRESS
from ..orders.goods import to_ship
from ..simulator.conftest import API_KEY, Simulator
from .examples import ADMIN, later, now

ORDERS_SERVICE = Actor.service("orders")

GOOD = "4242424242424242"
DECLINED = "4000000000000002"
INSUFFICIENT = "4000000000009995"
SHOP = ReturnUrls("https://shop.example/back")


class Payments(NamedTuple):
    """The adapters and handlers of one process of the service."""

    database: Database
    payments: MongoPayments
    cards: SimulatorCards
    bus: Bus
    takes_cash: bool = True
    capture: bool = True
    expiring: Expiring = Expiring.VOID

    async def create(self, request: CreatePayment) -> Created[PaymentView]:
        return await paying.create_payment(
            request,
            payments=self.payments,
            cards=self.cards,
            bus=self.bus,
            takes_cash=self.takes_cash,
            capture=self.capture,
            return_urls=SHOP,
            now=now,
        )

    async def cancel(
        self, payment_id: str, actor: Actor, *, request_id: str | None = None
    ) -> PaymentView:
        request = CancelPayment(
            request_id=request_id or str(uuid4()), payment_id=payment_id, actor=actor
        )
        return await paying.cancel_payment(
            request, payments=self.payments, cards=self.cards, bus=self.bus, now=now
        )

    async def confirm(self, payment_id: str, actor: Actor) -> PaymentView:
        request = ConfirmPayment(payment_id=payment_id, actor=actor)
        return await paying.confirm_payment(request, payments=self.payments, now=now)

    async def report(self, request: ReportVerdict) -> None:
        await paying.report_verdict(request, payments=self.payments, cards=self.cards, now=now)

    async def reconcile(self, clock: Callable[[], datetime] = later) -> None:
        await reconciling.reconcile(payments=self.payments, cards=self.cards, now=clock)

    async def capture_payment(
        self, payment_id: str, amount: Money, actor: Actor = ORDERS_SERVICE
    ) -> Money:
        request = CapturePayment(
            payment_id=payment_id, amount=amount, wanted_by=ADMIN.user_id, actor=actor
        )
        return await capturing.capture_payment(
            request, payments=self.payments, cards=self.cards, now=now
        )

    async def report_authorization(self, request: ReportAuthorization) -> None:
        await capturing.report_authorization(
            request, payments=self.payments, cards=self.cards, now=now
        )

    async def look_after_authorizations(self, clock: Callable[[], datetime] = now) -> None:
        await capturing.look_after_authorizations(
            payments=self.payments, cards=self.cards, expiring=self.expiring, now=clock
        )

    async def end_actions(self, clock: Callable[[], datetime] = later) -> None:
        await reconciling.end_actions(payments=self.payments, cards=self.cards, now=clock)

    async def canceled(self, event: CloudEvent[OrderCanceled]) -> None:
        await refunding.order_canceled(event, payments=self.payments, now=now)

    async def unwanted(self, event: CloudEvent[OrderPaymentUnwanted]) -> None:
        await refunding.order_payment_unwanted(event, payments=self.payments, now=now)

    async def refund_due(self, event: CloudEvent[OrderRefundDue]) -> None:
        await refunding.order_refund_due(event, payments=self.payments, now=now)

    async def refund(self, request: CreateRefund) -> Created[Refund]:
        return await refunding.create_refund(request, payments=self.payments, bus=self.bus, now=now)

    async def report_refund(self, request: ReportRefund) -> None:
        await refunding.report_refund(request, payments=self.payments, cards=self.cards, now=now)

    async def report_dispute(self, request: ReportDispute) -> None:
        await refunding.report_dispute(request, payments=self.payments, cards=self.cards, now=now)

    async def carry_out_refunds(self, clock: Callable[[], datetime] = now) -> None:
        await refunding.carry_out_refunds(payments=self.payments, cards=self.cards, now=clock)

    async def told(self, payment_id: str) -> list[str]:
        """Return the types of the payment's events."""
        outbox = (await self.document(payment_id))["outbox"]
        assert [event["sequence"] for event in outbox] == list(range(1, len(outbox) + 1))
        return [event["type"] for event in outbox]

    async def page(self, request: ListPayments) -> Page[PaymentView]:
        return await reading.list_payments(request, payments=self.payments)

    async def of(self, order_id: str) -> list[PaymentView]:
        """Return the payments of an order, newest first."""
        return (await self.page(ListPayments(limit=100, order_id=order_id))).data

    async def document(self, payment_id: str) -> Document:
        found = await self.database["payments"].find_one({"_id": payment_id})
        assert found
        return found


class Says(SimulatorCards):
    """The provider, which answers a look-up with `verdict`, whatever its ledger says."""

    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict

    async def look_up(self, payment_id: str) -> Outcome | None:
        return Outcome(self.verdict)


class Shop(NamedTuple):
    """Orders, and the customers' cards."""

    orders: MongoOrders
    simulator: Simulator

    async def order(
        self, user_id: str = "user-zoe", address: ShippingAddress | None = ADDRESS
    ) -> str:
        """Return the id of an order that awaits its payment."""
        user = msgspec.structs.replace(orders_examples.ZOE, id=user_id)
        order = await self.orders.add(orders_examples.order(user, address))
        return order.made.id

    async def ships(self, order_id: str) -> Order:
        """Ship the whole order."""
        order = await self.orders.get(order_id)
        lines = [(line.product_id, line.quantity) for line in order.lines]
        by = Change(by="an admin", at=now())
        request = to_ship(*lines, order_id=order_id)
        return await self.orders.change(order_id, fulfilment.ship, request, new_id("shp"), by=by)

    async def first_parcel(self, order_id: str, payments: Payments, key: str = "parcel") -> Order:
        """Ship the whole order, as orders' own handler does, which asks payments to capture."""
        order = await self.orders.get(order_id)
        lines = [(line.product_id, line.quantity) for line in order.lines]
        bus = Direct(
            answer(
                CapturePayment,
                capturing.capture_payment,
                payments=payments.payments,
                cards=payments.cards,
                now=now,
            )
        )
        request = to_ship(*lines, order_id=order_id, key=key)
        await orders_shipping.ship_order(request, orders=self.orders, bus=bus, now=now)
        return await self.orders.get(order_id)

    async def told(self, order_id: str) -> list[str]:
        """Return the types of the order's events."""
        document = await self.orders.collection.find_one({"_id": order_id})
        assert document
        return [event["type"] for event in document["outbox"]]

    async def hears(self, told: Document) -> Order:
        """Deliver a payment's events to orders; return the resulting order."""
        hear = {
            PaymentAuthorized: orders_paying.payment_authorized,
            PaymentPending: partial(orders_paying.payment_pending, cash_within=CASH_DEADLINE),
            PaymentActionRequired: partial(
                orders_paying.payment_action_required, act_within=TIME_TO_ACT
            ),
            PaymentCanceled: orders_paying.payment_canceled,
            PaymentCaptured: orders_paying.payment_captured,
            PaymentDeclined: orders_paying.payment_declined,
        }
        by_type: dict[str, Any] = {kind.type: (kind, handler) for kind, handler in hear.items()}
        for stored in told["outbox"]:
            kind, handler = by_type.get(stored["type"], (None, None))
            if handler is None:
                continue
            event = {**stored, "data": msgspec.json.decode(stored["data"])}
            await handler(msgspec.convert(event, CloudEvent[kind]), orders=self.orders, now=now)
        return await self.orders.get(told["order_id"])

    async def card(self, number: str = GOOD) -> CardToken:
        return CardToken(token=await self.simulator.token(number))

    async def fault(self, kind: str, **more: object) -> None:
        """Inject a fault into the simulator's next confirmation."""
        status, answer = await self.simulator.post("/v1/faults", {"kind": kind, **more})
        assert status == 201, answer

    async def charges(self, *payments: PaymentView) -> list[str]:
        """Return the simulator's ledger lines about the payments: independent evidence."""
        return [
            entry["kind"]
            for payment in payments
            for entry in await self.simulator.entries(payment.id)
        ]


@pytest.fixture(scope="session")
async def simulator(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Simulator]:
    """A separate process that sends no webhooks."""
    simulator = Simulator(tmp_path_factory.mktemp("simulator"))
    await simulator.start()
    yield simulator
    assert await simulator.stop() == 0


@pytest.fixture
async def cards(simulator: Simulator) -> AsyncGenerator[SimulatorCards]:
    async with open_simulator(simulator.url, API_KEY) as cards:
        yield cards
    await simulator.call("DELETE", "/v1/faults")


@pytest.fixture
async def orders_database(prepared: Prepared) -> Database:
    return await prepared(ORDERS)


@pytest.fixture
def shop(orders_database: Database, simulator: Simulator) -> Shop:
    return Shop(MongoOrders(orders_database, Outboxes()), simulator)


@pytest.fixture
async def payments(prepared: Prepared, cards: SimulatorCards, shop: Shop) -> Payments:
    database = await prepared(MIGRATIONS)
    payable = partial(orders_paying.get_payable_orders, orders=shop.orders, now=now)
    bus = Direct(
        answer_batch(GetPayableOrder, payable),
        answer(GetPriceOfPieces, orders_reading.get_price_of_pieces, orders=shop.orders),
        answer(GiveUpCash, orders_shipping.give_up_cash, orders=shop.orders),
    )
    return Payments(database, MongoPayments(database, Outboxes()), cards, bus)


@pytest.fixture(autouse=True)
async def _deadline() -> AsyncGenerator[None]:
    """Set a deadline, as requests have. It ends the wait for a running payment."""
    async with until(time.time() + 10):
        yield
