"""What a payment provider's ledger says, and how it differs from payments. Payments answers."""

from datetime import datetime
from enum import StrEnum

import msgspec

from cartwheel.contracts.identity import Actor
from cartwheel.contracts.money import Money
from cartwheel.contracts.payments import Failure, PaymentNotFound
from cartwheel.kernel import Page, Request, request
from cartwheel.kernel.errors import Forbidden


class EntryKind(StrEnum):
    """What an entry of a ledger records, in no provider's words.

    OTHER is what this version does not know. It is shown, and not compared.
    """

    CAPTURED = "CAPTURED"
    AUTHORIZED = "AUTHORIZED"
    DECLINED = "DECLINED"
    VOIDED = "VOIDED"
    REFUNDED = "REFUNDED"
    REFUND_FAILED = "REFUND_FAILED"
    DISPUTED = "DISPUTED"
    DISPUTE_WON = "DISPUTE_WON"
    DISPUTE_LOST = "DISPUTE_LOST"
    OTHER = "OTHER"


class LedgerEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A line of a provider's ledger: something that happened to a payment there.

    `id` and `at` are the provider's. A refund that is made and fails later has an entry for each.
    """

    id: str
    at: datetime
    kind: EntryKind
    payment_id: str
    amount: Money | None = None
    refund_id: str | None = None
    dispute_id: str | None = None
    failure: Failure | None = None


class DifferenceKind(StrEnum):
    """How payments and the provider's ledger differ about a payment."""

    NOT_HERE = "NOT_HERE"
    NOT_THERE = "NOT_THERE"
    AMOUNT_DIFFERS = "AMOUNT_DIFFERS"
    REFUND_DIFFERS = "REFUND_DIFFERS"


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """A difference. `here` is what payments has noted, and `there` what the provider's ledger has;
    null is nothing.

    What is `repairable` is repaired by having payments take over what the provider says. The rest
    is a person's to decide.
    """

    kind: DifferenceKind
    here: Money | None
    there: Money | None
    refund_id: str | None = None
    repairable: bool = False


class PaymentAtProvider(msgspec.Struct, frozen=True, kw_only=True):
    """A payment as its provider has it. Cash has no provider, and no entries."""

    payment_id: str
    provider: str
    reference: str | None
    entries: list[LedgerEntry]
    differences: list[Difference]


class Reconciled(msgspec.Struct, frozen=True, kw_only=True):
    """A payment that was compared with its provider's ledger.

    `differences` are those that were found, before any repair. `left` are those that there are now.
    """

    payment_id: str
    differences: list[Difference]
    left: list[Difference]


@request(
    "get_payment_at_provider",
    service="payments",
    read=True,
    refusals=(Forbidden, PaymentNotFound),
)
class GetPaymentAtProvider(Request[PaymentAtProvider], frozen=True, kw_only=True):
    """Ask the provider what has happened to a payment. For admins.

    Raises:
        Unavailable: the provider does not answer.
    """

    payment_id: str
    actor: Actor


@request("list_ledger", service="payments", read=True, refusals=(Forbidden,))
class ListLedger(Request[Page[LedgerEntry]], frozen=True, kw_only=True):
    """List the provider's ledger from `since` on, until before `until`, oldest first. For admins.

    Raises:
        Unavailable: the provider does not answer.
    """

    since: datetime
    until: datetime
    limit: int
    actor: Actor
    cursor: str | None = None


@request("reconcile_payment", service="payments", refusals=(Forbidden,))
class ReconcilePayment(Request[Reconciled], frozen=True, kw_only=True):
    """Compare a payment with its provider's ledger, and `repair` what can be. For admins.

    A payment that has changed within the last minute is left alone: it may be in progress.
    Repeatable. A payment that is not known here is an answer (`NOT_HERE`), not a refusal.

    Raises:
        Unavailable: the provider does not answer.
    """

    payment_id: str
    repair: bool
    actor: Actor
