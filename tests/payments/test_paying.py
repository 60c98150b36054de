"""Paying by card and in cash: the real handlers, MongoDB, simulator, and orders' answer."""

import asyncio
import time

import msgspec
import pytest

from cartwheel.contracts.orders import (
    AddressRequired,
    GetPayableOrder,
    InvalidTransition,
    OrderNotFound,
    PayableOrder,
)
from cartwheel.contracts.payments import (
    CardToken,
    CashOnDelivery,
    CreatePayment,
    PaymentInProgress,
    PaymentStatus,
    PaymentView,
)
from cartwheel.kernel.bus.deadline import until
from cartwheel.kernel.errors import IdempotencyKeyReused
from cartwheel.kernel.ids import new_id
from cartwheel.kernel.messages import Created
from cartwheel.kernel.store.outbox import Outboxes
from cartwheel.payments.mongo import MongoPayments

from ..orders import examples as orders_examples
from ..waiting import eventually
from .conftest import DECLINED, INSUFFICIENT, Payments, Shop
from .examples import CASH, TOTAL, create

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


async def test_the_capture_is_told_in_the_same_write(payments: Payments, shop: Shop) -> None:
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


async def test_nothing_of_the_card_but_brand_and_last_digits_is_stored(
    payments: Payments, shop: Shop
) -> None:
    card = await shop.card()
    paid = (await payments.create(create(await shop.order(), card))).made

    document = await payments.document(paid.id)

    assert document["card"] == {"brand": "visa", "last4": "4242"}
    assert card.token not in str(document)


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
    """Even before orders has heard of the declines."""
    order_id = await shop.order()
    for _ in range(3):
        await payments.create(create(order_id, await shop.card(DECLINED)))

    with pytest.raises(InvalidTransition):
        await payments.create(create(order_id, await shop.card()))

    assert await shop.charges(*await payments.of(order_id)) == ["decline"] * 3


async def test_a_process_slower_than_the_third_decline_charges_no_fourth_card(
    payments: Payments, shop: Shop
) -> None:
    order_id = await shop.order()
    for _ in range(2):
        await payments.create(create(order_id, await shop.card(DECLINED)))
    counted, go_on = asyncio.Event(), asyncio.Event()

    class Slow(MongoPayments):
        async def declines(self, order_id: str) -> int:
            found = await super().declines(order_id)
            counted.set()
            await go_on.wait()
            return found

    slow = payments._replace(payments=Slow(payments.database, Outboxes()))
    late = asyncio.create_task(slow.create(create(order_id, await shop.card())))
    await counted.wait()

    await payments.create(create(order_id, await shop.card(DECLINED)))
    go_on.set()

    with pytest.raises(PaymentInProgress):
        await late
    assert await shop.charges(*await payments.of(order_id)) == ["decline"] * 3


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
async def test_one_request_twenty_times_at_once_is_one_payment_for_everybody(
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
    """A repeat gives another, which names nothing."""
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


async def test_a_repeat_of_a_payment_that_goes_on_too_long_is_told_so(
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
    order = await shop.orders.add(orders_examples.order(address=None))

    with pytest.raises(AddressRequired):
        await payments.create(create(order.id, await shop.card()))

    assert await payments.of(order.id) == []


async def test_the_address_goes_to_the_order(payments: Payments, shop: Shop) -> None:
    order = await shop.orders.add(orders_examples.order(address=None))
    request = create(order.id, await shop.card())

    await payments.create(
        msgspec.structs.replace(request, shipping_address=orders_examples.ADDRESS)
    )

    assert (await shop.orders.get([order.id]))[order.id].shipping_address == orders_examples.ADDRESS


async def test_the_amount_is_the_orders_and_asked_of_orders(payments: Payments, shop: Shop) -> None:
    order_id = await shop.order()

    payable = await payments.bus.request(GetPayableOrder(order_id=order_id, user_id="user-zoe"))
    paid = (await payments.create(create(order_id, await shop.card()))).made

    assert payable == PayableOrder(order_id=order_id, total=paid.amount, attempts=3)
    [charge] = await shop.simulator.entries(paid.id)
    assert (charge["amount"], charge["currency"]) == (TOTAL.amount, TOTAL.currency)
