"""The simulator's ledger on the wire, in the words of the port."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated

import msgspec

from cartwheel.contracts import text
from cartwheel.contracts.ledger import EntryKind, LedgerEntry
from cartwheel.contracts.money import MAX_AMOUNT, Currency, Money
from cartwheel.contracts.payments import Failure

_KINDS: Mapping[str, EntryKind] = {
    "charge": EntryKind.CAPTURED,
    "capture": EntryKind.CAPTURED,
    "authorization": EntryKind.AUTHORIZED,
    "decline": EntryKind.DECLINED,
    "cancellation": EntryKind.VOIDED,
    "void": EntryKind.VOIDED,
    "lapse": EntryKind.VOIDED,
    "refund": EntryKind.REFUNDED,
    "refund_failed": EntryKind.REFUND_FAILED,
    "dispute_opened": EntryKind.DISPUTED,
    "dispute_won": EntryKind.DISPUTE_WON,
    "dispute_lost": EntryKind.DISPUTE_LOST,
}

LONGEST_CODE, LONGEST_MESSAGE = 64, 300
"""How many characters of a reason are handed on."""


class _Why(msgspec.Struct):
    code: str
    message: str


class _Line(msgspec.Struct):
    id: int
    at: datetime
    kind: str
    payment_id: str
    amount: Annotated[int, msgspec.Meta(ge=0, le=MAX_AMOUNT)] | None = None
    currency: Currency | None = None
    refund_id: str | None = None
    dispute_id: str | None = None
    failure: _Why | None = None


class Lines(msgspec.Struct):
    """A page of the ledger, or all lines of a payment."""

    data: list[_Line]
    next_after: int | None = None

    def entries(self) -> list[LedgerEntry]:
        return [_entry(line) for line in self.data]


def _entry(line: _Line) -> LedgerEntry:
    why, amount = line.failure, None
    if line.amount is not None and line.currency is not None:
        amount = Money(line.amount, line.currency)
    return LedgerEntry(
        id=str(line.id),
        at=line.at,
        kind=_KINDS.get(line.kind, EntryKind.OTHER),
        payment_id=line.payment_id,
        amount=amount,
        refund_id=line.refund_id,
        dispute_id=line.dispute_id,
        failure=Failure(
            code=text.one_line(why.code, longest=LONGEST_CODE),
            message=text.one_line(why.message, longest=LONGEST_MESSAGE),
        )
        if why
        else None,
    )
