"""The faults that are injected into the running system. A seed makes a round repeatable."""

import asyncio
import contextlib
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import aio_pika
import aiohttp
import msgspec
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from pymongo.errors import PyMongoError

from cartwheel.kernel import mongodb, new_id
from cartwheel.kernel.operating import topology, wire
from cartwheel.kernel.testing import POINTS
from cartwheel.operations.dead_letters.queue import as_published
from cartwheel.simulator.fault_kinds import FaultKind, steps_of
from cartwheel.simulator.webhooks import sign

from ..alarms import rabbitmq_full
from ..journeys.command_line import cartwheel
from ..scripted_ses import Answer
from .clocks import CACHED
from .history import History
from .promises import Violation
from .rig import Rig

Run = Callable[[Rig], Awaitable[None]]

READY_WITHIN = 60.0
CRASH_WITHIN = 12.0
LATE = 6.0
"""Seconds: longer than payments waits for its provider."""

COPY = "x-copy"
"""The header of an event that `disorder` has published again."""

_REACHED: dict[str, tuple[str, ...]] = {
    "gateway": ("send",),
    "products": ("commit", "publish", "ack", "reply"),
    "orders": ("commit", "publish", "ack", "send", "reply"),
    "payments": ("commit", "publish", "ack", "send", "reply"),
    "notifications": ("commit", "publish", "ack"),
}
"""The kernel's crash points that each process passes during a purchase."""

CRASHES = [
    (process, point)
    for process, steps in _REACHED.items()
    for point in POINTS
    if point.split(".")[0] in steps
]

_ANSWERS = (
    "answer_late",
    "charge_late",
    "drop",
    "charge_then_drop",
    "error",
    "charge_then_error",
)
_LATER_STEPS = ("refund", "cancel", "capture", "look_up")
_WEBHOOKS = (
    "webhook_late",
    "webhook_twice",
    "webhook_out_of_order",
    "webhook_never",
    "webhook_lies",
)
_KINDS = {
    "confirm": (*_ANSWERS, *_WEBHOOKS),
    **dict.fromkeys(_LATER_STEPS, _ANSWERS),
    "answer": (*_WEBHOOKS, "never_answered"),
}
"""What goes wrong at each step of the provider's."""


class Harm(Exception):
    """A fault had an effect that it must not have: the number of the promise, and what is wrong."""

    def __init__(self, promise: int, what: str) -> None:
        super().__init__(what)
        self.violation = Violation(promise, what)


class NotNow(Exception):
    """The fault is not possible now: no mail is due, say. The round continues without it."""


class Fault(msgspec.Struct, frozen=True):
    """A fault, described by the line `what`.

    `run` injects it, returns when the worst is over, and may raise `Harm` or `NotNow`.
    """

    what: str
    run: Run


def kill(name: str, *, wait: bool = True) -> Fault:
    """Kill `name`; with `wait`, return only when it is back."""

    async def run(rig: Rig) -> None:
        with contextlib.suppress(ProcessLookupError):
            await rig.supervisor.kill(name)
        if wait:
            await _ready(rig, name)

    return Fault(f"kill -9 {name}", run)


def restart(name: str) -> Fault:
    async def run(rig: Rig) -> None:
        await rig.supervisor.stop(name)
        await rig.supervisor.start(name)

    return Fault(f"restart {name} by SIGTERM", run)


def crash(name: str, point: str, count: int) -> Fault:
    """Restart `name` so that it kills itself when it reaches `point` for the `count`th time."""

    async def run(rig: Rig) -> None:
        rig.supervisor.next_time(name, {"CRASH_AT": f"{point}:{count}"})
        with contextlib.suppress(ProcessLookupError):
            await rig.supervisor.kill(name)
        await _ready(rig, name)
        armed = _pid(rig, name)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CRASH_WITHIN):
                while _pid(rig, name) == armed:  # noqa: ASYNC110 there is no event to wait for
                    await asyncio.sleep(0.05)
                await rig.supervisor.ready(name)
        if _pid(rig, name) == armed:  # it has not reached the point: disarm it
            with contextlib.suppress(ProcessLookupError):
                await rig.supervisor.kill(name)
            await _ready(rig, name)

    return Fault(f"{name} kills itself at {point}, time {count}", run)


def cut(process: str | None, part: str) -> Fault:
    async def run(rig: Rig) -> None:
        for proxy in rig.between(process, part):
            proxy.cut()

    return Fault(f"reset connections of {process or 'all'} to {part}", run)


def refuse(process: str | None, part: str, seconds: float) -> Fault:
    async def run(rig: Rig) -> None:
        for proxy in rig.between(process, part):
            proxy.refuse()
        await asyncio.sleep(seconds)
        for proxy in rig.between(process, part):
            proxy.refuse(False)

    return Fault(f"{part} out of reach of {process or 'all'} for {seconds:.1f} s", run)


def freeze(process: str | None, part: str, seconds: float) -> Fault:
    async def run(rig: Rig) -> None:
        for proxy in rig.between(process, part):
            proxy.freeze()
        await asyncio.sleep(seconds)
        for proxy in rig.between(process, part):
            proxy.thaw()

    return Fault(f"freeze {process or 'all'} to {part} for {seconds:.1f} s", run)


def break_off(process: str | None, part: str, seconds: float) -> Fault:
    """Lose the data sent in the last `seconds`, and then the connection."""

    async def run(rig: Rig) -> None:
        for proxy in rig.between(process, part):
            proxy.freeze()
        await asyncio.sleep(seconds)
        for proxy in rig.between(process, part):
            proxy.cut()
            proxy.thaw()

    return Fault(f"{process or 'all'} to {part}: dead for {seconds:.1f} s, then reset", run)


def lose_what_is_sent(process: str | None, part: str, seconds: float) -> Fault:
    """Lose only the sent data, and then the connection. Received data arrives and is processed."""

    async def run(rig: Rig) -> None:
        for proxy in rig.between(process, part):
            proxy.lose_what_is_sent()
        await asyncio.sleep(seconds)
        for proxy in rig.between(process, part):
            proxy.cut()
            proxy.thaw()

    return Fault(f"{process or 'all'} to {part}: all that is sent is lost for {seconds:.1f} s", run)


def step_down(seconds: int) -> Fault:
    async def run(rig: Rig) -> None:
        async with mongodb.connect(rig.system.environment["MONGODB_URI"], process="tests") as to:
            with contextlib.suppress(PyMongoError):
                await to.admin.command("replSetStepDown", seconds, force=True)
        await asyncio.sleep(seconds)

    return Fault(f"the primary steps down for {seconds} s", run)


def disorder(service: str, seconds: float) -> Fault:
    """Deliver about half of the events for `service` twice, late and in any order."""

    async def run(rig: Rig) -> None:
        name = topology.event_queue(service)
        dice = random.Random(seconds)  # noqa: S311 repeatable, not secret
        held: list[AbstractIncomingMessage] = []

        async def hold(message: AbstractIncomingMessage) -> None:
            held.append(message)

        async def republish(channel: AbstractChannel) -> None:
            taken = [
                message for message in held for _ in range(1 if COPY in message.headers else 2)
            ]
            held.clear()
            dice.shuffle(taken)
            for message in taken:
                copy = as_published(wire.copy_of(message, {**message.headers, COPY: True}))
                await channel.default_exchange.publish(copy, name)
            for message in dict.fromkeys(taken):
                await message.ack()

        async with (
            await aio_pika.connect(rig.system.environment["RABBITMQ_URL"]) as connection,
            connection.channel() as channel,
        ):
            queue = await channel.get_queue(name, ensure=False)
            tag = await queue.consume(hold)
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                await asyncio.sleep(dice.uniform(0.1, 1.5))
                await republish(channel)
            await queue.cancel(tag)
            await republish(channel)

    return Fault(f"events for {service} come twice and in disorder for {seconds:.1f} s", run)


def alarm(seconds: float) -> Fault:
    """Raise RabbitMQ's memory alarm: it accepts no messages until the alarm is cleared."""

    async def run(rig: Rig) -> None:
        async with rabbitmq_full(rig.supervisor):
            await asyncio.sleep(seconds)

    return Fault(f"RabbitMQ is full for {seconds:.1f} s", run)


def provider(count: int, seconds: float) -> Fault:
    async def run(rig: Rig) -> None:
        with contextlib.suppress(aiohttp.ClientError):
            for on, kinds in _KINDS.items():
                for kind in kinds:
                    await spoil(rig, kind=kind, on=on, count=count, seconds=seconds)

    return Fault(f"the provider fails in every way, {count} times each, {seconds:.0f} s", run)


def worst_mood(share: float, seconds: float) -> Fault:
    """Everything that can go wrong at the provider does, each at this share of its requests."""

    async def run(rig: Rig) -> None:
        for kind in FaultKind:
            for step in steps_of(kind):
                await spoil(rig, kind=kind, on=step, rate=share, count=None, seconds=LATE)
        await asyncio.sleep(seconds)

    return Fault(
        f"the provider fails in every way at {share:.0%} of requests, {seconds:.0f} s", run
    )


def money_comes_back(count: int, seconds: float) -> Fault:
    """Some refunds fail at once, and some after they were made; so do some captures, some charges
    are too high, and some authorizations lapse early; customers' banks dispute payments.

    Every second dispute that is opened here is decided, and the others stay open.
    """

    async def run(rig: Rig) -> None:
        with contextlib.suppress(aiohttp.ClientError):
            await spoil(rig, kind="refund_fails", on="refund", count=count)
            await spoil(rig, kind="refund_fails_late", on="refund", count=count, seconds=1)
            await spoil(rig, kind="capture_fails", on="capture", count=count)
            for kind in ("lapses_early", "charge_wrong_amount", "dispute"):
                await spoil(rig, kind=kind, on="confirm", count=count, seconds=1)
            await asyncio.sleep(seconds)
            lines = await _simulator(rig, "GET", path="/v1/ledger?limit=1000")
            taken = ("charge", "capture")
            charged = [line["payment_id"] for line in lines["data"] if line["kind"] in taken]
            for number, payment_id in enumerate(charged[-count:]):
                new = {"payment_id": payment_id, "amount": 100}
                dispute = await _simulator(rig, "POST", new, path="/v1/disputes")
                if number % 2 == 0:
                    decision = {"status": "won" if number % 4 == 0 else "lost"}
                    path = f"/v1/disputes/{dispute['id']}/close"
                    await _simulator(rig, "POST", decision, path=path)

    return Fault(f"{count} refunds fail, {count} come back, {count} payments are disputed", run)


def reconcile() -> Fault:
    """An operator has payments repaired while they are made: nothing may happen twice."""

    async def run(rig: Rig) -> None:
        # Whether all that it needs is up does not matter: the promises must hold afterwards.
        await cartwheel(rig.system, "payments", "reconcile", "--yes", "--json")

    return Fault("an operator compares payments with the provider's ledger", run)


def stop_and_continue(name: str, seconds: float) -> Fault:
    """SIGSTOP: the connections stay open, but nothing is answered."""

    async def run(rig: Rig) -> None:
        group = _pid(rig, name)  # the leader of its session
        if group is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGSTOP)
            try:
                await asyncio.sleep(seconds)
            finally:
                os.killpg(group, signal.SIGCONT)

    return Fault(f"SIGSTOP {name} for {seconds:.1f} s", run)


def clock_jumps(service: str, ahead: float, seconds: float) -> Fault:
    """Set the clock of all replicas wrong for `seconds`, and kill one of them half-way."""

    async def run(rig: Rig) -> None:
        assert rig.clocks is not None
        names = rig.copies(service)
        for name in names:
            rig.clocks.set(name, ahead)
        await asyncio.sleep(seconds / 2)
        await kill(names[-1], wait=False).run(rig)
        await asyncio.sleep(seconds / 2)
        for name in names:
            rig.clocks.set(name, 0)
        await asyncio.sleep(CACHED)

    return Fault(f"the clock of {service} is {ahead:+.0f} s off for {seconds:.1f} s", run)


def ses_fails(answer: Answer, seconds: float) -> Fault:
    """SES gives this answer to every mail and to the probe."""

    async def run(rig: Rig) -> None:
        rig.ses.mail = rig.ses.probe = answer
        await asyncio.sleep(seconds)
        rig.ses.recover()

    return Fault(f"SES answers {answer.status} {answer.code} for {seconds:.1f} s", run)


def webhooks_lie(seconds: float) -> Fault:
    """Send signed webhooks that do not match their payments, or report impossible events."""

    async def run(rig: Rig) -> None:
        environment = rig.system.environment
        await spoil(rig, kind="drop", count=5)  # these payments have no verdict and no charge
        until = time.monotonic() + seconds
        async with (
            mongodb.connect(environment["MONGODB_URI"], process="tests") as to,
            aiohttp.ClientSession(rig.system.url) as http,
        ):
            while time.monotonic() < until:
                awaiting = to["payments"]["payments"].find({"status": "AWAITING_PAYMENT"})
                async for payment in awaiting.limit(20):
                    for body in _lies_about(payment):
                        signature = sign(environment["SIMULATOR_WEBHOOK_SECRET"], body, time.time())
                        async with http.post(
                            "/api/v1/webhooks/simulator",
                            data=body,
                            headers={"Simulator-Signature": signature},
                        ):
                            pass  # whatever the answer is, the webhook must not be trusted
                await asyncio.sleep(0.1)

    return Fault(f"signed webhooks lie for {seconds:.1f} s", run)


def _lies_about(payment: mongodb.Document) -> Iterator[bytes]:
    told = {
        "id": new_id("evt"),
        "payment_intent": "pi_of_nobody",
        "payment_id": payment["_id"],
        "status": "succeeded",
        "currency": payment["amount"]["currency"],
    }
    is_card = payment["method"] == "card"
    yield msgspec.json.encode(
        {
            **told,
            "type": "payment_intent.succeeded",
            "amount": 1 if is_card else payment["amount"]["amount"],
        }
    )
    yield msgspec.json.encode({**told, "type": "payment_intent.created", "amount": 1})


def time_passes(seconds: float) -> Fault:
    async def run(_: Rig) -> None:
        await asyncio.sleep(seconds)

    return Fault(f"nothing for {seconds:.0f} s", run)


async def heal(rig: Rig) -> None:
    """Stop all faults, and return when every process and dependency is ready again."""
    for proxy in rig.proxies.values():
        proxy.refuse(False)
        proxy.thaw()
    rig.ses.recover()
    rig.mischief.end_all()
    if rig.members is not None:
        await rig.members.healthy()
    await _ready(rig, *rig.supervisor.names)
    await behave(rig)


async def inject(
    rig: Rig, faults: list[Fault], history: History, dice: random.Random
) -> list[Violation]:
    """Inject `faults` one after the other, with time for their effects.

    Return the effects that they must not have.
    """
    found: list[Violation] = []
    for fault in faults:
        await asyncio.sleep(dice.uniform(0.8, 2.0))
        history.fault(fault.what)
        try:
            await fault.run(rig)
        except Harm as harm:
            found.append(harm.violation)
        except NotNow as why:
            history.fault(f"not now: {why}")
    return found


async def _ready(rig: Rig, *names: str) -> None:
    async with asyncio.timeout(READY_WITHIN):
        await rig.supervisor.ready(*names)


def _pid(rig: Rig, name: str) -> int | None:
    try:
        return rig.supervisor.pid(name)
    except ProcessLookupError:
        return None


async def spoil(rig: Rig, **fault: object) -> None:
    """Make the provider fail. docs/simulator.md describes the faults."""
    await _simulator(rig, "POST", fault)


async def behave(rig: Rig) -> None:
    """End all faults of the provider."""
    await _simulator(rig, "DELETE")


async def _simulator(
    rig: Rig, method: str, content: object = None, *, path: str = "/v1/faults"
) -> Any:
    environment = rig.system.environment
    headers = {"Authorization": f"Bearer {environment['SIMULATOR_API_KEY']}"}
    async with (
        aiohttp.ClientSession(environment["SIMULATOR_URL"], headers=headers) as http,
        http.request(method, path, json=content, raise_for_status=True) as response,
    ):
        answer = await response.read()
        return msgspec.json.decode(answer) if answer else None
