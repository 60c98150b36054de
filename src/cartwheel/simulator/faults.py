"""Faults on demand, at the next confirmations, captures, refunds or cancellations of any payment
or of one.

Faults are kept in memory. A restart of the simulator forgets them, but never a charge.
"""

import asyncio
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Annotated

import msgspec
from aiohttp import web

from cartwheel.simulator.objects import Id
from cartwheel.simulator.outbox import NOT_AT_ALL, ONCE, Delivery


class Step(StrEnum):
    """The client's request at which a fault occurs."""

    CONFIRM = "confirm"
    """A charge: a confirmation, or an intent that is created and confirmed in one call."""
    REFUND = "refund"
    CANCEL = "cancel"
    CAPTURE = "capture"


class FaultKind(StrEnum):
    """What goes wrong. At a refund, a capture or a cancellation, "charge" stands for
    that step.

    The faults of webhooks apply to charges only.
    """

    ANSWER_LATE = "answer_late"
    """Charge at once, and answer `seconds` later."""
    CHARGE_LATE = "charge_late"
    """Charge `seconds` later (unless it is canceled in the meantime), then answer."""
    DROP = "drop"
    """Close the connection without charging."""
    CHARGE_THEN_DROP = "charge_then_drop"
    """Charge, then close the connection without answering."""
    ERROR = "error"
    """Answer 500 without charging."""
    CHARGE_THEN_ERROR = "charge_then_error"
    """Charge, then answer 500."""
    WEBHOOK_LATE = "webhook_late"
    """Send the webhook `seconds` later."""
    WEBHOOK_TWICE = "webhook_twice"
    """Send the same event twice."""
    WEBHOOK_OUT_OF_ORDER = "webhook_out_of_order"
    """Send the webhook after a newer one, or after `seconds` if there is none."""
    WEBHOOK_NEVER = "webhook_never"
    """Send no webhook."""
    REFUND_FAILS = "refund_fails"
    """Answer that the refund failed. No money moves."""
    REFUND_FAILS_LATE = "refund_fails_late"
    """Refund, answer so, and let the refund fail `seconds` later."""
    CAPTURE_FAILS = "capture_fails"
    """Answer that the issuer refuses the capture. The authorization stands."""
    LAPSES_EARLY = "lapses_early"
    """Authorize, and let the authorization lapse `seconds` later."""


_OF_REFUNDS = (FaultKind.REFUND_FAILS, FaultKind.REFUND_FAILS_LATE)
_OF_WEBHOOKS = frozenset(kind for kind in FaultKind if kind.startswith("webhook_"))


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """A fault that occurs `count` times at step `on`, of any payment or of `payment_id` only.

    If `count` is None, it occurs until the faults are cleared.
    """

    kind: FaultKind
    on: Step = Step.CONFIRM
    count: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] | None = 1
    payment_id: Id | None = None
    seconds: Annotated[float, msgspec.Meta(ge=0, le=86_400)] = 10.0

    def __post_init__(self) -> None:
        if self.kind in _OF_WEBHOOKS and self.on is not Step.CONFIRM:
            raise ValueError(f"{self.kind} goes with a confirmation only")
        if self.kind in _OF_REFUNDS and self.on is not Step.REFUND:
            raise ValueError(f"{self.kind} goes with a refund only")
        if self.kind is FaultKind.CAPTURE_FAILS and self.on is not Step.CAPTURE:
            raise ValueError(f"{self.kind} goes with a capture only")
        if self.kind is FaultKind.LAPSES_EARLY and self.on is not Step.CONFIRM:
            raise ValueError(f"{self.kind} goes with a confirmation only")


class Faults:
    """The faults still to come, oldest first."""

    def __init__(self) -> None:
        self.pending: list[Fault] = []

    def add(self, fault: Fault) -> None:
        self.pending.append(fault)

    def clear(self) -> None:
        self.pending.clear()

    def take(self, on: Step, payment_id: str) -> Fault | None:
        """Return the fault for this step, if any, and count it as used."""
        for place, fault in enumerate(self.pending):
            if fault.on is on and fault.payment_id in (None, payment_id):
                if fault.count == 1:
                    del self.pending[place]
                elif fault.count is not None:
                    self.pending[place] = msgspec.structs.replace(fault, count=fault.count - 1)
                return fault
        return None


class Late:
    """What happens some time after a fault. A restart of the simulator forgets it."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    def start(self, seconds: float, do: Callable[[], Awaitable[object]]) -> None:
        async def later() -> None:
            await asyncio.sleep(seconds)
            await do()

        task = asyncio.create_task(later())
        self._running.add(task)  # the loop itself keeps no reference
        task.add_done_callback(self._running.discard)


def webhook_delivery(fault: Fault | None) -> Delivery:
    match fault:
        case Fault(kind=FaultKind.WEBHOOK_LATE):
            return Delivery(delay=fault.seconds)
        case Fault(kind=FaultKind.WEBHOOK_TWICE):
            return Delivery(copies=2)
        case Fault(kind=FaultKind.WEBHOOK_OUT_OF_ORDER):
            return Delivery(delay=fault.seconds, held=True)
        case Fault(kind=FaultKind.WEBHOOK_NEVER):
            return NOT_AT_ALL
        case _:
            return ONCE


async def answered(
    fault: Fault | None, request: web.Request, do: Callable[[], Awaitable[web.Response]]
) -> web.Response:
    """Answer `request` with `fault`, if there is one. `do` carries out the request."""
    kind = fault.kind if fault else None
    seconds = fault.seconds if fault else 0
    if kind is FaultKind.CHARGE_LATE:
        await asyncio.sleep(seconds)
    if kind is FaultKind.DROP:
        return _hang_up(request)
    if kind is FaultKind.ERROR:
        return _error()
    answer = await do()
    if kind is FaultKind.ANSWER_LATE:
        await asyncio.sleep(seconds)
    if kind is FaultKind.CHARGE_THEN_DROP:
        return _hang_up(request)
    if kind is FaultKind.CHARGE_THEN_ERROR:
        return _error()
    return answer


def _hang_up(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()  # never sent: the connection is closed


def _error() -> web.Response:
    return web.json_response(
        {"error": {"code": "api_error", "message": "Something went wrong."}}, status=500
    )
