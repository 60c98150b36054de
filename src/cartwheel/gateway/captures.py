"""Captures that this gateway has just reported to a client, so that it answers their webhooks.

The provider also reports each capture by webhook, often before payments has answered. Payments
stores the capture before it answers, so such a webhook tells it nothing new (ADR 15). A webhook
that is unknown here, or differs in any field, goes to payments.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Generator
from contextlib import contextmanager

import msgspec

from cartwheel.contracts.payments import PaymentStatus, PaymentView, ReportVerdict
from cartwheel.kernel import Created

MOST_CAPTURES = 10_000
"""The most captures remembered, about 6 MB. Only real captures count. The oldest is dropped first;
its webhook then goes to payments."""
KEPT_FOR_SECONDS = 60.0
"""Seconds to remember a capture. Its webhook may have gone to another gateway."""
PATIENCE_SECONDS = 2.0
"""Seconds that a webhook waits for payments' answer: far less than the provider's own timeout
(10 s)."""


class Captures:
    """The payments that this process is making, and the captures among their results.

    After a restart, or at another gateway, both are unknown: the webhook then goes to payments.
    """

    def __init__(
        self,
        *,
        most: int = MOST_CAPTURES,
        kept_for: float = KEPT_FOR_SECONDS,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self._most = most
        self._kept_for = kept_for
        self._patience = patience
        self._awaited: dict[str, asyncio.Future[None]] = {}
        """By payment id. A waiting webhook removes its entry, so the next one does not wait: at
        most one webhook waits per payment in progress."""
        self._answered: OrderedDict[str, tuple[float, ReportVerdict]] = OrderedDict()
        """By payment id, oldest first: the time, and the webhook that would repeat it."""

    @contextmanager
    def awaited(self, payment_id: str) -> Generator[None]:
        """Make the payment's webhook wait until payments has answered, or has failed to."""
        ended = self._awaited[payment_id] = asyncio.get_running_loop().create_future()
        try:
            yield
        finally:
            self._awaited.pop(payment_id, None)
            ended.set_result(None)

    def remember(self, answer: Created[PaymentView]) -> None:
        """Remember the payment in `answer` if it was captured just now."""
        payment = answer.made
        if payment.status is not PaymentStatus.PAID or answer.replayed:
            return
        told = ReportVerdict(
            provider=payment.provider,
            payment_id=payment.id,
            captured=True,
            reference=payment.provider_reference,
            method=payment.method,
            amount=payment.amount,
            card=payment.card,
        )
        self._answered[payment.id] = time.monotonic(), told
        if len(self._answered) > self._most:
            self._answered.popitem(last=False)
        self._forget_old()

    async def repeats(self, report: ReportVerdict) -> bool:
        """Return whether `report`, whose signature is verified, repeats a remembered capture.

        Each capture is matched once. If the payment is still in progress, wait for its result.
        """
        if not report.captured:
            return False
        ended = self._awaited.pop(report.payment_id, None)
        if ended is not None:
            await asyncio.wait([ended], timeout=self._patience)
        self._forget_old()
        _, known = self._answered.get(report.payment_id, (None, None))
        if msgspec.structs.replace(report, actor=None) != known:
            return False
        del self._answered[report.payment_id]
        return True

    def _forget_old(self) -> None:
        until = time.monotonic() - self._kept_for
        while self._answered:
            payment_id, (since, _) = next(iter(self._answered.items()))
            if since >= until:
                return
            del self._answered[payment_id]
