"""Misbehaviour on demand: what to do wrong at the next confirmations, refunds or cancellations,
or at those of one payment.

Faults live in memory: a restart of the simulator forgets them, never what was charged.
"""

import asyncio
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Annotated

import msgspec
from aiohttp import web

from cartwheel.simulator.objects import Id
from cartwheel.simulator.outbox import NEVER, PROPERLY, Manner


class Step(StrEnum):
    """What the client asks for, and a fault spoils."""

    CONFIRM = "confirm"
    """A charge: a confirmation, or an intent that is made and confirmed in one call."""
    REFUND = "refund"
    CANCEL = "cancel"


class FaultKind(StrEnum):
    """At a refund or a cancellation, read that for "charge". Those have no webhooks to spoil."""

    ANSWER_LATE = "answer_late"
    """Charge at once, answer `seconds` later."""
    CHARGE_LATE = "charge_late"
    """Charge `seconds` later (unless canceled meanwhile), then answer."""
    DROP = "drop"
    """Close the connection without charging."""
    CHARGE_THEN_DROP = "charge_then_drop"
    """Charge, then close the connection without an answer."""
    ERROR = "error"
    """Answer 500 without charging."""
    CHARGE_THEN_ERROR = "charge_then_error"
    """Charge, then answer 500."""
    WEBHOOK_LATE = "webhook_late"
    """Send the webhook `seconds` later."""
    WEBHOOK_TWICE = "webhook_twice"
    """Send the same event twice."""
    WEBHOOK_OUT_OF_ORDER = "webhook_out_of_order"
    """Send the webhook after a younger one, or after `seconds` if there is none."""
    WEBHOOK_NEVER = "webhook_never"
    """Send no webhook."""


_OF_WEBHOOKS = frozenset(kind for kind in FaultKind if kind.startswith("webhook_"))


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """To be done `count` times (None: until the faults are cleared): at any step `on`, or at those
    of `payment_id` only."""

    kind: FaultKind
    on: Step = Step.CONFIRM
    count: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] | None = 1
    payment_id: Id | None = None
    seconds: Annotated[float, msgspec.Meta(ge=0, le=86_400)] = 10.0

    def __post_init__(self) -> None:
        if self.kind in _OF_WEBHOOKS and self.on is not Step.CONFIRM:
            raise ValueError(f"{self.kind} goes with a confirmation only")


class Faults:
    """The faults still to be done, oldest first."""

    def __init__(self) -> None:
        self.pending: list[Fault] = []

    def add(self, fault: Fault) -> None:
        self.pending.append(fault)

    def clear(self) -> None:
        self.pending.clear()

    def take(self, on: Step, payment_id: str) -> Fault | None:
        """Return what to do wrong at this step, and count it as done."""
        for place, fault in enumerate(self.pending):
            if fault.on is on and fault.payment_id in (None, payment_id):
                if fault.count == 1:
                    del self.pending[place]
                elif fault.count is not None:
                    self.pending[place] = msgspec.structs.replace(fault, count=fault.count - 1)
                return fault
        return None


def webhook_manner(fault: Fault | None) -> Manner:
    match fault:
        case Fault(kind=FaultKind.WEBHOOK_LATE):
            return Manner(delay=fault.seconds)
        case Fault(kind=FaultKind.WEBHOOK_TWICE):
            return Manner(copies=2)
        case Fault(kind=FaultKind.WEBHOOK_OUT_OF_ORDER):
            return Manner(delay=fault.seconds, held=True)
        case Fault(kind=FaultKind.WEBHOOK_NEVER):
            return NEVER
        case _:
            return PROPERLY


async def answered(
    fault: Fault | None, request: web.Request, do: Callable[[], Awaitable[web.Response]]
) -> web.Response:
    """Answer `request` as `fault` says, or properly; `do` does what ought to be done."""
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
    return web.Response()  # goes nowhere: the connection is gone


def _error() -> web.Response:
    return web.json_response(
        {"error": {"code": "api_error", "message": "Something went wrong."}}, status=500
    )
