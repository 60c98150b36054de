"""Captures that this gateway has just answered, so that it answers their webhooks itself.

The provider reports each capture by a webhook as well, often before payments has answered.
Payments stores the capture before it answers, so such a webhook tells it nothing new (ADR 15).
Whatever is not known here, or differs in anything, goes to payments.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Generator
from contextlib import contextmanager

from cartwheel.contracts.payments import PaymentStatus, PaymentView, ReportVerdict
from cartwheel.kernel import Created

MOST_CAPTURES = 10_000
"""Captures that are remembered, some 6 MB. Only what a provider has really captured takes a place.
The oldest is forgotten first, and payments is asked about its webhook."""
KEPT_FOR_SECONDS = 60.0
"""Seconds that a capture waits for its webhook, which may have gone to another gateway."""
PATIENCE_SECONDS = 2.0
"""Seconds that a webhook waits for payments' answer: far less than the provider waits for ours
(10 s)."""


class Captures:
    """What this process has asked payments to charge, and the captures it has been answered.

    A restart forgets both, and another gateway knows nothing of them: then payments is asked.
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
        """By payment id. A webhook that waits for one takes it out: the next does not wait, so no
        more webhooks wait than payments are being made."""
        self._answered: OrderedDict[str, tuple[float, ReportVerdict]] = OrderedDict()
        """By payment id, oldest first: since when, and the webhook that repeats it."""

    @contextmanager
    def awaited(self, payment_id: str) -> Generator[None]:
        """Have the webhook of a payment that payments is asked for wait until it has answered.

        An outage ends that, too: the webhook then asks payments at once.
        """
        ended = self._awaited[payment_id] = asyncio.get_running_loop().create_future()
        try:
            yield
        finally:
            self._awaited.pop(payment_id, None)
            ended.set_result(None)

    def remember(self, answer: Created[PaymentView]) -> None:
        """Remember the payment that payments has answered if it was captured just now."""
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
        """Return whether `report`, whose signature is checked, only repeats a capture answered.

        A capture is repeated once. If payments is still making that payment, wait for its answer.
        """
        if not report.captured:
            return False
        ended = self._awaited.pop(report.payment_id, None)
        if ended is not None:
            await asyncio.wait([ended], timeout=self._patience)
        self._forget_old()
        _, known = self._answered.get(report.payment_id, (None, None))
        if report != known:
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
