"""The port to payment providers, and the verdicts that they give."""

from datetime import datetime
from typing import ClassVar, Protocol

import msgspec

from cartwheel.contracts.ledger import LedgerEntry
from cartwheel.contracts.money import Money
from cartwheel.contracts.payments import CardSummary, DisputeStatus, Failure, RefundStatus
from cartwheel.kernel import Page


class Charge(msgspec.Struct, frozen=True, kw_only=True):
    """What to charge. `token` stands for a card that only the provider has seen.

    Without a token, the customer pays with the provider's wallet. If they have to approve the
    payment, their browser goes to `return_url` after that. Without `capture`, the amount is only
    authorized.
    """

    payment_id: str
    amount: Money
    token: str | None
    capture: bool = True
    return_url: str | None = None


class Captured(msgspec.Struct, frozen=True):
    """The provider captured `amount`, which may differ from the requested amount."""

    amount: Money


class Authorized(msgspec.Struct, frozen=True):
    """The provider has reserved `amount` until `capture_before`, and takes it when asked to."""

    amount: Money
    capture_before: datetime


class Declined(msgspec.Struct, frozen=True, kw_only=True):
    """The card's issuer declined. `code` is the provider's; `message` is for the customer.

    If the customer did not approve the payment, the issuer was not asked, and it does not count.
    """

    code: str
    message: str
    counts: bool = True


class Voided(msgspec.Struct, frozen=True):
    """No money was captured, and none ever will be for this payment id."""


class ActionRequired(msgspec.Struct, frozen=True):
    """The customer has to open `url` and to approve the payment there.

    After `expires_at`, if the provider sets a limit, they no longer can. This is no end: the
    payment is captured, declined or voided later.
    """

    url: str
    expires_at: datetime | None = None


Verdict = Captured | Authorized | Declined | Voided | ActionRequired


class Outcome(msgspec.Struct, frozen=True):
    """How a payment ended at its provider, or what it waits for.

    `card` is what may be shown of the card, if there is one. `reference` is the provider's own id
    for the payment, if it has one.
    """

    verdict: Verdict
    reference: str | None = None
    card: CardSummary | None = None


class RefundOutcome(msgspec.Struct, frozen=True):
    """How far a refund is at its provider. `failure` says why it was not made."""

    status: RefundStatus
    failure: Failure | None = None


REFUNDED = RefundOutcome(RefundStatus.SUCCEEDED)


class DisputeOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """How far a dispute of a payment is at its provider."""

    payment_id: str
    amount: Money
    status: DisputeStatus
    reason: str


class TokenRefused(Exception):
    """The provider does not know the token, or it was used before. Nothing was charged."""


class CaptureRefused(Exception):
    """The issuer refuses to pay what it has authorized. Nothing was captured.

    The authorization stands: the capture may be tried again.
    """

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.code)
        self.failure = failure


class CardProvider(Protocol):
    """Charges cards. Every method may be repeated: the payment id is the idempotency key.

    Every method raises `kernel.errors.Unavailable` or `TimedOut` if the provider does not answer.
    The outcome is then unknown. Find it out with `cancel` or `look_up`, never with another charge.
    """

    name: ClassVar[str]

    async def charge(self, charge: Charge) -> Outcome:
        """Charge the card, or ask its customer first (`ActionRequired`).

        Raises:
            TokenRefused: the provider refuses the token; nothing has happened for this payment id.
        """
        ...

    async def cancel(self, payment_id: str) -> Outcome:
        """Make sure that nothing more happens for this payment id, and return the outcome.

        A completed charge stands (`Captured` or `Declined`). An authorization is voided. A charge
        that the provider has never seen, and that may still be on its way, is refused from now on
        (`Voided`). So is one that waits for its customer. The verdict is never `ActionRequired`.
        """
        ...

    async def capture(self, payment_id: str, amount: Money) -> Outcome:
        """Capture `amount` of an authorization, once, and void the rest of it.

        A repeat answers the first outcome: `Captured`, or `Voided` if it was voided or has lapsed.

        Raises:
            CaptureRefused: the issuer does not pay; the authorization stands.
        """
        ...

    async def look_up(self, payment_id: str) -> Outcome | None:
        """Return the real outcome for this payment id, and change nothing.

        None means that nothing has happened so far, though it still may.
        """
        ...

    async def refund(self, payment_id: str, refund_id: str, amount: Money) -> RefundOutcome:
        """Refund `amount` of a captured charge, once per `refund_id`; return how far it is.

        A repeat answers how far it is now. A refund that was made may fail later.
        """
        ...

    async def look_up_dispute(self, dispute_id: str) -> DisputeOutcome | None:
        """Return how far a dispute is; None if there is no such dispute."""
        ...

    async def entries_of(self, payment_id: str) -> list[LedgerEntry]:
        """Return what the provider's ledger says of this payment id, oldest first."""
        ...

    async def ledger(
        self, *, since: datetime, until: datetime, limit: int, cursor: str | None
    ) -> Page[LedgerEntry]:
        """Return a page of the ledger from `since` on, until before `until`, oldest first.

        `cursor` is the `next_cursor` of the page before.
        """
        ...
