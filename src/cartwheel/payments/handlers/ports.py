"""What the handlers need of the outside, beside `provider`."""

from datetime import timedelta
from typing import Protocol

from cartwheel.contracts.payments import ListPayments, PaymentView
from cartwheel.kernel.jobs import Items
from cartwheel.kernel.messages import Page
from cartwheel.payments.domain import Payment


class Payments(Protocol):
    async def add(self, payment: Payment) -> bool:
        """Store a new payment.

        Return False if its request has made one, its order has a live one, or its attempt has been
        used up meanwhile.
        """
        ...

    async def get(self, payment_id: str) -> Payment | None: ...

    async def made_by(self, request_id: str) -> Payment | None: ...

    async def declined(self, order_id: str) -> list[Payment]:
        """Return the order's payments that used up an attempt, the first attempt first."""
        ...

    async def save(self, payment: Payment, *, expected: Payment) -> bool:
        """Store a changed payment; return False if it is no longer as `expected`."""
        ...

    async def disbelieved(self, payment_id: str) -> None:
        """Count a webhook that does not match the payment, for `cartwheel verify`."""
        ...

    async def page(self, request: ListPayments) -> Page[PaymentView]: ...

    async def awaited(self, order_id: str) -> list[Payment]:
        """Return the order's payments that still await their verdict."""
        ...

    def to_refund(self) -> Items:
        """Return the payments that have a refund to be carried out."""
        ...

    def undecided(self, provider: str, *, after: timedelta) -> Items:
        """Return the provider's payments that still await their verdict `after` so long."""
        ...
