"""`cartwheel refund` and `cartwheel disputes`: giving money back, and banks that take it back."""

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation

import msgspec
from babel.numbers import get_currency_precision
from rich.console import Console

from cartwheel.contracts.money import Money
from cartwheel.contracts.parcels import Pieces
from cartwheel.contracts.payments import (
    CreateRefund,
    Dispute,
    DisputeStatus,
    GetPayment,
    ListDisputed,
    PaymentView,
    Refund,
    RefundInvalid,
)
from cartwheel.operations import amounts, asking, tables, typed
from cartwheel.operations.reaching import BusSettings
from cartwheel.operations.tables import Column

_COLUMNS = (
    Column("dispute"),
    Column("status"),
    Column("amount"),
    Column("since"),
    Column("reason", prose=True),
    Column("payment"),
    Column("order"),
)


async def refunded(
    settings: BusSettings,
    payment_id: str,
    *,
    reason: str,
    amount: str | None,
    lines: Sequence[Pieces],
    by_other_means: bool,
    key: str | None,
) -> Refund:
    """Refund `amount`, what `lines` cost, or all that is left. The same key and values refund once.

    Raises:
        Refusal: as `CreateRefund` says.
    """
    actor = asking.operator()
    values = (payment_id, reason, amount, lines, by_other_means)
    async with asking.bus(settings) as asks:
        payment = await asks.request(GetPayment(payment_id=payment_id, actor=actor))
        answer = await asks.request(
            CreateRefund(
                request_id=asking.request_id(actor, key),
                body_hash=asking.body_hash(*values),
                payment_id=payment_id,
                reason=reason,
                amount=None if amount is None else _money(amount, payment.amount.currency),
                lines=[*lines],
                by_other_means=by_other_means,
                actor=actor,
            )
        )
    return answer.made


async def disputed(
    settings: BusSettings, *, status: DisputeStatus | None, limit: int
) -> list[PaymentView]:
    """Return the payments with a dispute, or with one of this `status`, newest first."""
    actor = asking.operator()
    found: list[PaymentView] = []
    async with asking.bus(settings) as asks:
        cursor = None
        while len(found) < limit:
            page = await asks.request(
                ListDisputed(
                    limit=min(limit - len(found), 100), status=status, cursor=cursor, actor=actor
                )
            )
            found += page.data
            cursor = page.next_cursor
            if cursor is None:
                break
    return found


def show_json(value: object, console: Console) -> None:
    console.out(msgspec.json.encode(value).decode(), highlight=False)


def show_refund(refund: Refund) -> None:
    typed.say_done(f"{refund.id}: {amounts.written(refund.amount)}, {refund.status}")


def show_disputes(payments: Sequence[PaymentView], console: Console) -> None:
    rows = [_row(payment, dispute) for payment in payments for dispute in payment.disputes]
    if rows:
        tables.show(_COLUMNS, rows, console)
    else:
        console.print("No payment is disputed.")


def _row(payment: PaymentView, dispute: Dispute) -> tuple[str, ...]:
    return (
        dispute.id,
        dispute.status,
        amounts.written(dispute.amount),
        f"{dispute.at:%Y-%m-%d %H:%M}",
        dispute.reason,
        payment.id,
        payment.order_id,
    )


def _money(amount: str, currency: str) -> Money:
    """Return `amount`, such as 19.99, in minor units.

    Raises:
        RefundInvalid: it is no such amount.
    """
    decimals = get_currency_precision(currency)
    try:
        minor = Decimal(amount).scaleb(decimals)
        if minor == minor.to_integral_value():
            return msgspec.convert({"amount": int(minor), "currency": currency}, Money)
    except (InvalidOperation, OverflowError, ValueError):
        pass  # also NaN, infinity, and an amount below zero
    raise RefundInvalid(f"{amount} is no amount of {currency} with {decimals} decimals or fewer.")
