"""Payments. Customers pay and see their own, administrators see everybody's and confirm cash."""

from typing import Annotated, Any

import msgspec
from litestar import Request, Response, Router, get, post
from litestar.params import FromPath, JSONBody, QueryParameter

from cartwheel.contracts import ledger, text
from cartwheel.contracts import payments as contract
from cartwheel.contracts.ledger import PaymentAtProvider
from cartwheel.contracts.payments import Method, PaymentStatus, PaymentView
from cartwheel.contracts.timeline import TimelineEntry
from cartwheel.gateway import examples
from cartwheel.gateway.bodies import EXPLAIN
from cartwheel.gateway.bus import Bus, handed_on
from cartwheel.gateway.captures import Captures
from cartwheel.gateway.card import Token, card_free, refuse_card_data
from cartwheel.gateway.described import described
from cartwheel.gateway.idempotency import CREATED, IdempotencyKey, body_hash, created, request_id
from cartwheel.gateway.identity import SignedIn, admin
from cartwheel.gateway.paging import (
    Amount,
    Cursor,
    InCurrency,
    Limit,
    exactly,
    moment,
    time_parameter,
)
from cartwheel.gateway.rate_limits import PAYMENT, Attempts
from cartwheel.gateway.strict import NewShippingAddress
from cartwheel.kernel import Page, new_id
from cartwheel.kernel.errors import Forbidden

ReturnUrl = Annotated[str, msgspec.Meta(max_length=1_000, pattern=text.URL)]
OfOrder = Annotated[
    str | None,
    QueryParameter(name="order_id", max_length=100, description="Only the payments of this order"),
]
OfUser = Annotated[
    str | None,
    QueryParameter(
        name="user_id",
        max_length=100,
        description="Only the payments of this user; for administrators",
    ),
]
WithMethod = Annotated[
    Method | None, QueryParameter(name="method", description="Only those made in this way")
]
CreatedAfter = Annotated[
    str | None,
    time_parameter("created_after", "Only payments made at this time or later"),
]
CreatedBefore = Annotated[
    str | None,
    time_parameter("created_before", "Only payments made before this time"),
]
WithStatus = Annotated[PaymentStatus | None, QueryParameter(name="status")]
OfProvider = Annotated[
    str | None,
    QueryParameter(
        name="provider",
        max_length=50,
        description="Only those whose money this provider takes, such as `simulator` or `cash`",
    ),
]


class ByCard(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    tag="card",
    tag_field="type",
    forbid_unknown_fields=True,
):
    """Charged at once, or at shipment.

    A card's number or CVC is refused with 422 `card_data_not_accepted`.
    """

    token: Token


class ByWallet(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    tag="wallet",
    tag_field="type",
    forbid_unknown_fields=True,
):
    """Approved by the customer on the page of the provider's wallet."""


class CashOnDelivery(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    tag="cash_on_delivery",
    tag_field="type",
    forbid_unknown_fields=True,
):
    """Paid to whoever delivers."""


class NewPayment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The amount is the order's total. The address is needed if the order has none.

    `return_url` is where the browser goes after the customer has approved the payment.
    """

    order_id: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    method: ByCard | ByWallet | CashOnDelivery
    shipping_address: NewShippingAddress | None = None
    return_url: ReturnUrl | None = None


@post(
    "/",
    opt={
        EXPLAIN: refuse_card_data,
        **described(
            asks=contract.CreatePayment,
            body=NewPayment(
                order_id=examples.ORDER_ID,
                method=ByCard(token=examples.CARD_TOKEN),
                shipping_address=examples.NEW_ADDRESS,
            ),
            answer=examples.PAYMENT,
            returns="The payment. A declined card's has the status `REJECTED`, and says why. One "
            "with the status `REQUIRES_ACTION` waits for its customer.",
            headers=CREATED,
        ),
        **card_free(),
    },
)
async def create_payment(
    data: JSONBody[NewPayment],
    identity: SignedIn,
    bus: Bus,
    request: Request[Any, Any, Any],
    attempts: Attempts,
    key: IdempotencyKey = None,
) -> Response[PaymentView]:
    """Pay an order.

    The amount is always the total of the order. A declined card is not an error: the answer is 201,
    with the status `REJECTED` and a `failure`. In a shop that charges at shipment, the answer of a
    good card has the status `AUTHORIZED`: its amount is reserved. A token that the card provider
    does not know, or that was used before, is refused with 422 `card_token_invalid`, and uses up no
    attempt.

    If the customer has to approve the payment (3-D Secure, or a wallet), the answer is 201 with the
    status `REQUIRES_ACTION`. Send their browser to `next_action.url`. It comes back to
    `return_url`, which proves nothing: read the payment to see how it ended.

    Cash on delivery gives the order a new `expires_at`, some days away, the first time that it is
    chosen.
    """
    method, paid_with = _method(data.method)
    said = [data.order_id, paid_with, data.shipping_address]
    if data.return_url is not None:
        said.append(data.return_url)
    captures: Captures = request.app.state.captures
    # Named here, so that its webhook is recognized before payments has answered.
    payment_id = new_id("pay")
    async with attempts.of(PAYMENT, identity.user_id) as attempt:
        with captures.awaited(payment_id):
            answer = await bus.request(
                contract.CreatePayment(
                    request_id=request_id(identity, key),
                    body_hash=body_hash(said),
                    actor=identity.actor,
                    order_id=data.order_id,
                    method=method,
                    shipping_address=data.shipping_address,
                    payment_id=payment_id,
                    return_url=data.return_url,
                )
            )
            captures.remember(answer)
        attempt.failed = answer.made.status is PaymentStatus.REJECTED and not answer.replayed
    return created(answer, f"/api/v1/payments/{answer.made.id}")


def _method(
    chosen: ByCard | ByWallet | CashOnDelivery,
) -> tuple[contract.CardToken | contract.Wallet | contract.CashOnDelivery, str]:
    """Return the method for payments, and what stands for it in the hash of the body."""
    match chosen:
        case ByCard(token=token):
            return contract.CardToken(token=token), token
        case ByWallet():
            return contract.Wallet(), "wallet"
        case CashOnDelivery():
            return contract.CashOnDelivery(), "cash_on_delivery"


@post(
    "/{payment_id:str}/confirm",
    status_code=200,
    guards=[admin],
    opt=described(
        asks=contract.ConfirmPayment, answer=examples.CASH_PAYMENT, returns="The payment."
    ),
)
async def confirm_payment(payment_id: FromPath[str], identity: SignedIn, bus: Bus) -> PaymentView:
    """Confirm that cash was paid.

    For administrators. May be repeated.
    """
    return await bus.request(contract.ConfirmPayment(payment_id=payment_id, actor=identity.actor))


@post(
    "/{payment_id:str}/cancel",
    status_code=200,
    opt=described(
        asks=contract.CancelPayment,
        answer=examples.CANCELED_PAYMENT,
        returns="The payment, which is canceled. One that was captured meanwhile is `PAID`.",
    ),
)
async def cancel_payment(
    payment_id: FromPath[str], identity: SignedIn, bus: Bus, key: IdempotencyKey = None
) -> PaymentView:
    """Cancel a payment that is awaited, or that waits for its customer's approval.

    The order can then be paid in another way. After cash on delivery, its first `expires_at` holds
    again, with two minutes left at least. Canceling is no attempt. Customers can cancel their own
    payments, administrators all. A canceled payment stays as it is, so this may be repeated.
    """
    return await bus.request(
        contract.CancelPayment(
            request_id=request_id(identity, key), payment_id=payment_id, actor=identity.actor
        )
    )


@get(
    "/",
    opt=described(
        asks=contract.ListPayments,
        refuses=(Forbidden,),
        answer=Page(data=[examples.PAYMENT]),
        returns="A page of payments, newest first.",
    ),
)
async def list_payments(
    identity: SignedIn,
    bus: Bus,
    limit: Limit = 20,
    cursor: Cursor = None,
    order_id: OfOrder = None,
    status: WithStatus = None,
    user_id: OfUser = None,
    method: WithMethod = None,
    created_after: CreatedAfter = None,
    created_before: CreatedBefore = None,
    provider: OfProvider = None,
    amount: Amount = None,
    currency: InCurrency = None,
) -> Response[Page[PaymentView]]:
    """List your payments, newest first.

    Administrators see the payments of all users, or of `user_id`. Filters can be combined. An
    `amount` needs its `currency`, and finds payments of exactly that amount.
    """
    if not identity.admin and user_id not in (None, identity.user_id):
        raise Forbidden("Only an administrator may list the payments of other users.")
    return await handed_on(
        contract.ListPayments(
            limit=limit,
            cursor=cursor,
            order_id=order_id,
            status=status,
            user_id=user_id if identity.admin else identity.user_id,
            method=method,
            created_after=moment("created_after", created_after),
            created_before=moment("created_before", created_before),
            provider=provider,
            amount=exactly(amount, currency),
            actor=identity.actor,
        ),
        bus,
    )


@get(
    "/{payment_id:str}",
    opt=described(asks=contract.GetPayment, answer=examples.PAYMENT, returns="The payment."),
)
async def get_payment(
    payment_id: FromPath[str], identity: SignedIn, bus: Bus
) -> Response[PaymentView]:
    """Show a payment."""
    return await handed_on(contract.GetPayment(payment_id=payment_id, actor=identity.actor), bus)


@get(
    "/{payment_id:str}/timeline",
    opt=described(
        asks=contract.GetPaymentTimeline,
        answer=examples.PAYMENT_TIMELINE,
        returns="What happened to the payment, oldest first.",
    ),
)
async def get_payment_timeline(
    payment_id: FromPath[str], identity: SignedIn, bus: Bus
) -> Response[list[TimelineEntry]]:
    """Show what happened to a payment, when, by whom and why.

    Oldest first. `because_of` names the event that caused an entry: it may be in the timeline of
    the order.
    """
    return await handed_on(
        contract.GetPaymentTimeline(payment_id=payment_id, actor=identity.actor), bus
    )


@get(
    "/{payment_id:str}/provider",
    guards=[admin],
    opt=described(
        asks=ledger.GetPaymentAtProvider,
        answer=examples.PAYMENT_AT_PROVIDER,
        returns="The payment as its provider has it.",
    ),
)
async def get_payment_at_provider(
    payment_id: FromPath[str], identity: SignedIn, bus: Bus
) -> Response[PaymentAtProvider]:
    """Ask the provider what has happened to a payment.

    For administrators. `entries` are what the provider's ledger has, oldest first. `differences`
    name what is not the same here; of a payment that is just being made, they may be gone a moment
    later.
    """
    return await handed_on(
        ledger.GetPaymentAtProvider(payment_id=payment_id, actor=identity.actor), bus
    )


router = Router(
    "/payments",
    route_handlers=[
        create_payment,
        confirm_payment,
        cancel_payment,
        list_payments,
        get_payment,
        get_payment_timeline,
        get_payment_at_provider,
    ],
    tags=["payments"],
)
