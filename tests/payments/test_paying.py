"""Paying by card and in cash: the real handlers, MongoDB, simulator, and orders' answer."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator

import msgspec
import pytest

from cartwheel.contracts.idempotency import IdempotencyKeyReused
from cartwheel.contracts.orders import (
    AddressRequired,
    GetPayableOrder,
    InvalidTransition,
    OrderNotFound,
    OrderStatus,
    PayableOrder,
)
from cartwheel.contracts.payments import (
    CardSummary,
    CardToken,
    CardTokenInvalid,
    CashOnDelivery,
    CreatePayment,
    PaymentInProgress,
    PaymentStatus,
    PaymentView,
)
from cartwheel.kernel import Answer, Created, Request, new_id
from cartwheel.kernel.errors import OutcomeUnknown, Unavailable
from cartwheel.kernel.mongodb import Database, Outboxes
from cartwheel.kernel.testing import until
from cartwheel.orders.domain.order import PAYMENT_DEADLINE
from cartwheel.payments.domain import Payment
from cartwheel.payments.mongo import MongoPayments

from ..orders.examples import ADDRESS, BONN
from ..waiting import eventually
from .conftest import DECLINED, GOOD, INSUFFICIENT, Payments, Shop
from .examples import CASH, TOTAL, create, now

Attempt = Created[PaymentView] | BaseException


@pytest.fixture
def other(payments: Payments) -> Payments:
    """A second process of the service."""
    return payments._replace(payments=MongoPayments(payments.database, Outboxes()))


def made(attempts: list[Attempt]) -> list[Created[PaymentView]]:
    return [attempt for attempt in attempts if isinstance(attempt, Created)]


async def at_once(requests: list[CreatePayment], *processes: Payments) -> list[Attempt]:
    return await asyncio.gather(
        *(
            processes[number % len(processes)].create(request)
            for number, request in enumerate(requests)
        ),
        return_exceptions=True,
    )


async def test_a_good_card_pays_the_orders_total_once(payments: Payments, shop: Shop) -> None:
    order_id = await shop.order()

    answer = await payments.create(create(order_id, await shop.card()))

    paid = answer.made
    assert answer.replayed is False
    assert (paid.status, paid.amount, paid.order_id) == (PaymentStatus.PAID, TOTAL, order_id)
    assert [entry.type for entry in paid.timeline] == ["begun", "captured"]
    assert paid.provider_reference
    assert await payments.of(order_id) == [paid]
    assert await shop.charges(paid) == ["charge"]


async def test_the_capture_and_its_event_are_one_write(payments: Payments, shop: Shop) -> None:
    order_id = await shop.order()
    paid = (await payments.create(create(order_id, await shop.card()))).made

    document = await payments.document(paid.id)

    [told] = document["outbox"]
    assert (told["type"], told["sequence"], told["subject"]) == (
        "payment.captured.v1",
        1,
        paid.id,
    )
    assert msgspec.json.decode(told["data"])["amount"] == {"amount": 4248, "currency": "USD"}
    assert document["sequence"] == 1


async def test_only_brand_and_last_digits_of_the_card_are_stored(
    payments: Payments, shop: Shop
) -> None:
    card = await shop.card()
    paid = (await payments.create(create(await shop.order(), card))).made

    document = await payments.document(paid.id)

    assert paid.card == CardSummary(brand="visa", last4="4242")
    assert document["card"] == {"brand": "visa", "last4": "4242"}
    assert card.token not in str(document)


async def test_an_unknown_token_is_refused_and_the_order_stays_payable(
    payments: Payments, shop: Shop
) -> None:
    order_id = await shop.order()

    with pytest.raises(CardTokenInvalid) as refused:
        await payments.create(create(order_id, CardToken(token="pm_none")))
    [left] = await payments.of(order_id)
    paid = (await payments.create(create(order_id, await shop.card()))).made

    assert [error.field for error in refused.value.errors] == ["method.token"]
    assert left.status is PaymentStatus.REJECTED
    assert await payments.told(left.id) == []
    assert await payments.payments.declined(order_id) == []
    assert paid.status is PaymentStatus.PAID
    assert await shop.charges(left, paid) == ["charge"]


async def test_a_token_pays_one_order_and_no_other(payments: Payments, shop: Shop) -> None:
    card, first, second = await shop.card(), await shop.order(), await shop.order()
    await payments.create(create(first, card))

    with pytest.raises(CardTokenInvalid):
        await payments.create(create(second, card))

    assert await shop.charges(*await payments.of(second)) == []


async def test_refused_tokens_never_use_up_an_attempt(payments: Payments, shop: Shop) -> None:
    order_id = await shop.order()
    for _ in range(5):
        with pytest.raises(CardTokenInvalid):
            await payments.create(create(order_id, CardToken(token="pm_none")))

    declined = (await payments.create(create(order_id, await shop.card(DECLINED)))).made

    assert declined.status is PaymentStatus.REJECTED
    assert len(await payments.payments.declined(order_id)) == 1


async def test_a_repeat_with_a_refused_token_is_refused_again(
    payments: Payments, other: Payments, shop: Shop
) -> None:
    order_id = await shop.order()
    request = create(order_id, CardToken(token="pm_none"), request_id="5c0e")

    attempts = await at_once([request] * 10, payments, other)
    with pytest.raises(CardTokenInvalid):
        await payments.create(request)

    assert {type(attempt) for attempt in attempts} == {CardTokenInvalid}
    assert len(await payments.of(order_id)) == 1


@pytest.mark.parametrize(
    ("number", "code"), [(DECLINED, "card_declined"), (INSUFFICIENT, "insufficient_funds")]
)
async def test_a_declined_card_is_an_answer_and_leaves_the_order_payable(
    payments: Payments, shop: Shop, number: str, code: str
) -> None:
    order_id = await shop.order()

    rejected = (await payments.create(create(order_id, await shop.card(number)))).made
    paid = (await payments.create(create(order_id, await shop.card()))).made

    assert rejected.status is PaymentStatus.REJECTED
    assert rejected.failure is not None
    assert rejected.failure.code == code
    assert paid.status is PaymentStatus.PAID
    assert await shop.charges(rejected, paid) == ["decline", "charge"]


async def test_after_the_third_decline_no_fourth_card_is_charged(
    payments: Payments, shop: Shop
) -> None:
    """This holds even before orders knows of the declines."""
    order_id = await shop.order()
    for _ in range(3):
        await payments.create(create(order_id, await shop.card(DECLINED)))

    with pytest.raises(InvalidTransition):
        await payments.create(create(order_id, await shop.card()))

    assert await shop.charges(*await payments.of(order_id)) == ["decline"] * 3


class Paused(MongoPayments):
    """Pauses before the call `name` until the test lets it continue."""

    def __init__(self, database: Database, name: str) -> None:
        super().__init__(database, Outboxes())
        self._name = name
        self.there, self.go_on = asyncio.Event(), asyncio.Event()

    async def _pause(self, name: str) -> None:
        if name == self._name:
            self.there.set()
            await self.go_on.wait()

    async def add(self, payment: Payment) -> bool:
        await self._pause("add")
        return await super().add(payment)

    async def declined(self, order_id: str) -> list[Payment]:
        found = await super().declined(order_id)
        await self._pause("declined")
        return found


@contextlib.asynccontextmanager
async def overtaken(
    payments: Payments, request: CreatePayment, *, before: str
) -> AsyncGenerator[asyncio.Task[Created[PaymentView]]]:
    """Yield the result of `request` in a process that is paused before the call `before`."""
    paused = Paused(payments.database, before)
    late = asyncio.create_task(payments._replace(payments=paused).create(request))
    async with asyncio.timeout(30):
        await paused.there.wait()
    try:
        yield late
    finally:
        paused.go_on.set()
        await asyncio.wait({late})


async def test_a_payment_after_declines_does_not_depend_on_orders_knowing_them(
    payments: Payments, shop: Shop
) -> None:
    order_id = await shop.order()
    for _ in range(2):
        await payments.create(create(order_id, await shop.card(DECLINED)))

    paid = (await payments.create(create(order_id, await shop.card()))).made

    assert (paid.status, (await payments.document(paid.id))["attempt"]) == (PaymentStatus.PAID, 3)


async def test_declines_that_orders_knows_are_counted_once(payments: Payments, shop: Shop) -> None:
    order_id = await shop.order()
    heard: list[OrderStatus] = []
    for _ in range(3):
        declined = (await payments.create(create(order_id, await shop.card(DECLINED)))).made
        heard.append((await shop.hears(await payments.document(declined.id))).status)

    with pytest.raises(InvalidTransition):
        await payments.create(create(order_id, await shop.card()))

    attempts = [
        (await payments.document(each.id))["attempt"] for each in await payments.of(order_id)
    ]
    assert attempts == [3, 2, 1]
    assert heard[1:] == [OrderStatus.AWAITING_PAYMENT, OrderStatus.REJECTED]
    assert await shop.charges(*await payments.of(order_id)) == ["decline"] * 3


@pytest.mark.parametrize("before", ["add", "declined"])
async def test_a_process_slower_than_the_third_decline_charges_no_fourth_card(
    payments: Payments, shop: Shop, before: str
) -> None:
    order_id = await shop.order()
    for _ in range(2):
        await payments.create(create(order_id, await shop.card(DECLINED)))

    async with overtaken(payments, create(order_id, await shop.card()), before=before) as late:
        await payments.create(create(order_id, await shop.card(DECLINED)))

    assert isinstance(late.exception(), InvalidTransition)
    assert await shop.charges(*await payments.of(order_id)) == ["decline"] * 3


@pytest.mark.parametrize("by", ["card", "cash"])
async def test_a_process_slower_than_another_payment_charges_nothing(
    payments: Payments, shop: Shop, by: str
) -> None:
    order_id = await shop.order()
    method = await shop.card() if by == "card" else CASH

    async with overtaken(payments, create(order_id, await shop.card()), before="add") as late:
        made = (await payments.create(create(order_id, method))).made

    assert isinstance(late.exception(), PaymentInProgress)
    assert await payments.of(order_id) == [made]
    assert await shop.charges(made) == (["charge"] if by == "card" else [])


@pytest.mark.parametrize("body", ["hash", "another"])
async def test_a_process_slower_than_a_repeat_of_its_request_charges_nothing(
    payments: Payments, shop: Shop, body: str
) -> None:
    order_id = await shop.order()
    request = create(order_id, await shop.card(), request_id="5c0e")
    repeat = msgspec.structs.replace(request, method=await shop.card(), body_hash=body)

    async with overtaken(payments, request, before="add") as late:
        made = (await payments.create(repeat)).made

    if body == request.body_hash:
        assert late.result() == Created(made=made, replayed=True)
    else:
        assert isinstance(late.exception(), IdempotencyKeyReused)
    assert await shop.charges(*await payments.of(order_id)) == ["charge"]


async def test_concurrent_card_and_cash_payments_become_one(
    payments: Payments, other: Payments, shop: Shop
) -> None:
    for number in range(10):
        order_id = await shop.order()
        requests = [create(order_id, await shop.card()), create(order_id, CASH)]

        attempts = await at_once(
            requests, *([payments, other] if number % 2 else [other, payments])
        )

        [one] = made(attempts)
        assert [type(no) for no in attempts if no is not one] == [PaymentInProgress]
        assert await payments.of(order_id) == [one.made]
        charged = ["charge"] if one.made.card else []
        assert await shop.charges(one.made) == charged


async def test_twenty_payments_of_one_order_at_once_charge_once(
    payments: Payments, other: Payments, shop: Shop
) -> None:
    order_id = await shop.order()
    requests = [create(order_id, await shop.card()) for _ in range(20)]

    attempts = await at_once(requests, payments, other)

    [paid] = made(attempts)
    assert paid.made.status is PaymentStatus.PAID
    assert sum(isinstance(attempt, PaymentInProgress) for attempt in attempts) == 19
    assert await shop.charges(*await payments.of(order_id)) == ["charge"]


@pytest.mark.parametrize("by", ["card", "cash"])
async def test_one_request_sent_twenty_times_at_once_is_one_payment(
    payments: Payments, other: Payments, shop: Shop, by: str
) -> None:
    order_id = await shop.order()
    method = await shop.card() if by == "card" else CASH
    request = create(order_id, method, request_id="5c0e")

    attempts = await at_once([request] * 20, payments, other)

    answered = made(attempts)
    assert len(answered) == 20, attempts
    assert len({answer.made.id for answer in answered}) == 1
    assert [answer.replayed for answer in answered].count(False) == 1
    assert {answer.made.status for answer in answered} == {
        PaymentStatus.PAID if by == "card" else PaymentStatus.AWAITING_PAYMENT
    }
    [payment] = await payments.of(order_id)
    assert await shop.charges(payment) == (["charge"] if by == "card" else [])


async def test_the_same_request_again_answers_the_first_payment(
    payments: Payments, shop: Shop
) -> None:
    request = create(await shop.order(), await shop.card(DECLINED), request_id="5c0e")
    first = await payments.create(request)

    again = await payments.create(
        msgspec.structs.replace(request, method=await shop.card(DECLINED))
    )

    assert again == Created(made=first.made, replayed=True)
    assert await shop.charges(first.made) == ["decline"]


async def test_a_new_payment_has_the_id_that_its_request_gives(
    payments: Payments, shop: Shop
) -> None:
    """A repeat may give another id, which is ignored."""
    request = create(await shop.order(), await shop.card(), request_id="5c0e")
    first, other = new_id("pay"), new_id("pay")

    made = await payments.create(msgspec.structs.replace(request, payment_id=first))
    again = await payments.create(msgspec.structs.replace(request, payment_id=other))

    assert made.made.id == first
    assert again == Created(made=made.made, replayed=True)


async def test_the_same_key_with_another_body_is_refused(payments: Payments, shop: Shop) -> None:
    order_id = await shop.order()
    await payments.create(create(order_id, CASH, request_id="5c0e", body_hash="one"))

    with pytest.raises(IdempotencyKeyReused):
        await payments.create(create(order_id, CASH, request_id="5c0e", body_hash="other"))


async def test_a_repeat_after_the_order_is_paid_is_still_answered(
    payments: Payments, shop: Shop
) -> None:
    """Orders refuses the repeat, since the order is PAID."""
    order_id = await shop.order()
    request = create(order_id, await shop.card(), request_id="5c0e")
    paid = (await payments.create(request)).made
    order = await shop.hears(await payments.document(paid.id))

    again = await payments.create(request)

    assert order.status is OrderStatus.PAID
    assert again == Created(made=paid, replayed=True)
    with pytest.raises(IdempotencyKeyReused):
        await payments.create(msgspec.structs.replace(request, body_hash="another"))
    with pytest.raises(InvalidTransition):
        await payments.create(msgspec.structs.replace(request, request_id="6d1f"))
    assert await shop.charges(paid) == ["charge"]


@pytest.mark.parametrize("payable", [True, False])
async def test_a_key_that_has_paid_one_order_pays_no_other(
    payments: Payments, shop: Shop, payable: bool
) -> None:
    request = create(await shop.order(), await shop.card(), request_id="5c0e")
    paid = (await payments.create(request)).made
    another = await shop.order(address=ADDRESS if payable else None)

    with pytest.raises(IdempotencyKeyReused):
        await payments.create(
            msgspec.structs.replace(request, order_id=another, body_hash="another")
        )

    assert await payments.of(another) == []
    assert await shop.charges(paid) == ["charge"]


async def test_a_repeat_is_answered_while_orders_is_down(payments: Payments, shop: Shop) -> None:
    class Down:
        async def request(self, request: Request[Answer]) -> Answer:
            raise Unavailable("RabbitMQ is down")

    down = payments._replace(bus=Down())
    request = create(await shop.order(), await shop.card(), request_id="5c0e")
    with pytest.raises(Unavailable):
        await down.create(request)
    paid = (await payments.create(request)).made

    assert await down.create(request) == Created(made=paid, replayed=True)
    assert await shop.charges(paid) == ["charge"]


async def test_a_repeat_of_a_payment_that_runs_too_long_is_refused(
    payments: Payments, shop: Shop
) -> None:
    order_id = await shop.order()
    request = create(order_id, await shop.card(), request_id="5c0e")
    await shop.fault("charge_late", seconds=1.5)
    running = asyncio.create_task(payments.create(request))

    async def begun() -> None:
        assert await payments.of(order_id)

    await eventually(begun)

    async with until(time.time() + 1.2):
        with pytest.raises(PaymentInProgress):
            await payments.create(request)

    assert (await running).made.status is PaymentStatus.PAID
    assert await shop.charges(*await payments.of(order_id)) == ["charge"]


async def test_a_paid_order_is_not_charged_again(payments: Payments, shop: Shop) -> None:
    order_id = await shop.order()
    await payments.create(create(order_id, await shop.card()))

    with pytest.raises(PaymentInProgress):
        await payments.create(create(order_id, await shop.card()))
    with pytest.raises(PaymentInProgress):
        await payments.create(create(order_id, CASH))


@pytest.mark.parametrize("by", ["card", "cash"])
async def test_somebody_elses_order_cannot_be_paid(payments: Payments, shop: Shop, by: str) -> None:
    order_id = await shop.order(user_id="user-eve")
    method: CardToken | CashOnDelivery = await shop.card() if by == "card" else CASH

    with pytest.raises(OrderNotFound):
        await payments.create(create(order_id, method))

    assert await payments.of(order_id) == []


async def test_an_order_without_an_address_is_not_paid(payments: Payments, shop: Shop) -> None:
    order_id = await shop.order(address=None)

    with pytest.raises(AddressRequired):
        await payments.create(create(order_id, await shop.card()))

    assert await payments.of(order_id) == []


@pytest.mark.parametrize("by", ["a good card", "a bad card", "a lost charge", "cash"])
async def test_the_address_reaches_the_order_whatever_the_outcome(
    payments: Payments, shop: Shop, by: str
) -> None:
    order_id = await shop.order(address=None)
    method = CASH if by == "cash" else await shop.card(DECLINED if by == "a bad card" else GOOD)
    if by == "a lost charge":
        await shop.fault("drop")

    with contextlib.suppress(OutcomeUnknown):
        await payments.create(create(order_id, method, address=BONN))
    await payments.reconcile()
    [made] = await payments.of(order_id)

    order = await shop.hears(await payments.document(made.id))

    assert order.shipping_address == BONN


async def test_a_payment_after_a_decline_uses_its_address(payments: Payments, shop: Shop) -> None:
    """Orders knows neither the decline nor its address."""
    order_id = await shop.order(address=ADDRESS)
    await payments.create(create(order_id, await shop.card(DECLINED), address=BONN))

    paid = (await payments.create(create(order_id, await shop.card()))).made

    order = await shop.hears(await payments.document(paid.id))
    assert (order.status, order.shipping_address) == (OrderStatus.PAID, BONN)


async def test_the_amount_comes_from_orders(payments: Payments, shop: Shop) -> None:
    order_id = await shop.order()

    payable = await payments.bus.request(GetPayableOrder(order_id=order_id, user_id="user-zoe"))
    paid = (await payments.create(create(order_id, await shop.card()))).made

    assert payable == PayableOrder(
        order_id=order_id,
        total=paid.amount,
        attempts=3,
        action_until=now() + PAYMENT_DEADLINE,
    )
    [charge] = await shop.simulator.entries(paid.id)
    assert (charge["amount"], charge["currency"]) == (TOTAL.amount, TOTAL.currency)
