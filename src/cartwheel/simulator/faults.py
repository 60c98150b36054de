"""Faults on demand: at the next requests, or at a share of them, of any or one payment.

Faults are kept in memory. A restart of the simulator forgets them, but never a charge.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Annotated

import msgspec
from aiohttp import web

from cartwheel.simulator.errors import BadRequest
from cartwheel.simulator.fault_kinds import FaultKind, Step, steps_of
from cartwheel.simulator.objects import Id
from cartwheel.simulator.outbox import NOT_AT_ALL, ONCE, Delivery


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """A fault that occurs `count` times at step `on`, of any payment or of `payment_id` only.

    If `count` is None, it occurs until the faults are cleared. With a `rate` below 1, it occurs at
    that share of the steps, by chance.
    """

    kind: FaultKind
    on: Step = Step.CONFIRM
    count: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] | None = 1
    rate: Annotated[float, msgspec.Meta(gt=0, le=1)] = 1.0
    payment_id: Id | None = None
    seconds: Annotated[float, msgspec.Meta(ge=0, le=86_400)] = 10.0

    def __post_init__(self) -> None:
        if self.on not in (possible := steps_of(self.kind)):
            raise ValueError(f"{self.kind} goes with a {possible[0]} only")


MOST_FAULTS = 1_000
"""How many may be pending. Each step looks at all of them."""


class Faults:
    """The faults still to come, oldest first. `chance` returns numbers from 0 to below 1."""

    def __init__(self, chance: Callable[[], float] = random.random) -> None:
        self.pending: list[Fault] = []
        self._chance = chance

    def add(self, fault: Fault) -> None:
        """Raises BadRequest: too many are pending."""
        if len(self.pending) >= MOST_FAULTS:
            raise BadRequest("too_many_faults", "Too many faults are pending. Clear them first.")
        self.pending.append(fault)

    def clear(self) -> None:
        self.pending.clear()

    def take(self, on: Step, payment_id: str) -> Fault | None:
        """Return the fault for this step, if any, and count it as used.

        One that chance passes over leaves the step to the next.
        """
        for place, fault in enumerate(self.pending):
            fits = fault.on is on and fault.payment_id in (None, payment_id)
            if fits and (fault.rate == 1 or self._chance() < fault.rate):
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
        case Fault(kind=FaultKind.WEBHOOK_LIES):
            return Delivery(misstated=1)
        case _:
            return ONCE


def overcharge(fault: Fault | None) -> int:
    """Return how many minor units are charged too much."""
    return 1 if fault and fault.kind is FaultKind.CHARGE_WRONG_AMOUNT else 0


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
