"""The port to whoever moves the money, and what they say of it."""

from typing import ClassVar, Protocol

import msgspec

from cartwheel.contracts.money import Money
from cartwheel.contracts.payments import CardSummary


class Charge(msgspec.Struct, frozen=True, kw_only=True):
    """What to take from whom: `token` stands for a card that only the provider has seen."""

    payment_id: str
    amount: Money
    token: str


class Captured(msgspec.Struct, frozen=True):
    """The money was taken: `amount`, whatever was asked for."""

    amount: Money


class Declined(msgspec.Struct, frozen=True, kw_only=True):
    """The card's issuer said no; `code` is the provider's, `message` is for the customer."""

    code: str
    message: str


class Voided(msgspec.Struct, frozen=True):
    """No money was taken, and none will be for this payment id."""


Verdict = Captured | Declined | Voided


class Outcome(msgspec.Struct, frozen=True):
    """How a payment ended at its provider, and what may be shown of the card, if there was one.

    `reference` is the provider's own id of it, if any.
    """

    verdict: Verdict
    reference: str | None = None
    card: CardSummary | None = None


class TokenRefused(Exception):
    """The provider does not know the token, or it was used before. Nothing was charged."""


class CardProvider(Protocol):
    """Charges cards. Every verb may be repeated: the payment id is the idempotency key.

    All raise `kernel.errors.Unavailable` or `TimedOut` when the provider does not answer. After
    that the outcome is unknown, and only `cancel` or `look_up` may be used to find out: never
    another charge.
    """

    name: ClassVar[str]

    async def charge(self, charge: Charge) -> Outcome:
        """Take the money.

        Raises:
            TokenRefused: nothing has happened under this payment id.
        """
        ...

    async def cancel(self, payment_id: str) -> Outcome:
        """Make sure that nothing more happens under this payment id, and say what has.

        A charge that is through stays (`Captured`, `Declined`); one that the provider has never
        seen, and that may still be on its way, is refused from now on (`Voided`).
        """
        ...

    async def look_up(self, payment_id: str) -> Outcome | None:
        """Say what has really happened under this payment id, and change nothing.

        None: nothing has, though it still may.
        """
        ...

    async def refund(self, payment_id: str, refund_id: str, amount: Money) -> None:
        """Give back `amount` of a captured charge. Under one `refund_id` it happens once."""
        ...
