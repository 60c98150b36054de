"""What is done to the running system, drawn from a seed so that a round can be had again."""

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aio_pika
import aiohttp
import msgspec
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from pymongo.errors import PyMongoError

from cartwheel.kernel.bus import topology, wire
from cartwheel.kernel.crash_points import POINTS
from cartwheel.kernel.store import client as mongodb

from ..alarms import rabbitmq_full
from .history import History
from .rig import OWN, PARTS, SERVICES, Rig

Run = Callable[[Rig], Awaitable[None]]

READY_WITHIN = 60.0
CRASH_WITHIN = 12.0
COPY = "x-copy"
"""The header of an event that `disorder` has given back."""

_REACHED: dict[str, tuple[str, ...]] = {
    "gateway": ("send",),
    "products": ("commit", "publish", "ack", "reply"),
    "orders": ("commit", "publish", "ack", "send", "reply"),
    "payments": ("commit", "publish", "ack", "send", "reply"),
    "notifications": ("commit", "publish", "ack"),
}
"""Which of the kernel's steps each process takes in the course of a purchase."""

CRASHES = [
    (process, point)
    for process, steps in _REACHED.items()
    for point in POINTS
    if point.split(".")[0] in steps
]

_PROVIDER = (
    "answer_late",
    "charge_late",
    "drop",
    "charge_then_drop",
    "error",
    "charge_then_error",
    "webhook_late",
    "webhook_twice",
    "webhook_out_of_order",
    "webhook_never",
)


class Fault(msgspec.Struct, frozen=True):
    """`what` says it in a line; `run` returns when the worst is over."""

    what: str
    run: Run


def kill(name: str, *, wait: bool = True) -> Fault:
    """Kill `name`; unless told to `wait`, go on before it is back."""

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
    """Start `name` anew, to kill itself the `count`th time it gets to `point`."""

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
        if _pid(rig, name) == armed:  # it never got there: disarm it
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
    """What was sent in the last `seconds` is lost with the connection."""

    async def run(rig: Rig) -> None:
        for proxy in rig.between(process, part):
            proxy.freeze()
        await asyncio.sleep(seconds)
        for proxy in rig.between(process, part):
            proxy.cut()
            proxy.thaw()

    return Fault(f"{process or 'all'} to {part}: dead for {seconds:.1f} s, then reset", run)


def step_down(seconds: int) -> Fault:
    async def run(rig: Rig) -> None:
        async with mongodb.connect(rig.system.environment["MONGODB_URI"], process="tests") as to:
            with contextlib.suppress(PyMongoError):
                await to.admin.command("replSetStepDown", seconds, force=True)
        await asyncio.sleep(seconds)

    return Fault(f"the primary steps down for {seconds} s", run)


def disorder(service: str, seconds: float) -> Fault:
    """About half of the events for `service` reach it twice, late and in any order."""

    async def run(rig: Rig) -> None:
        name = topology.event_queue(service)
        dice = random.Random(seconds)  # noqa: S311 repeatable, not secret
        held: list[AbstractIncomingMessage] = []

        async def hold(message: AbstractIncomingMessage) -> None:
            held.append(message)

        async def give_back(channel: AbstractChannel) -> None:
            taken = [
                message for message in held for _ in range(1 if COPY in message.headers else 2)
            ]
            held.clear()
            dice.shuffle(taken)
            for message in taken:
                copy = wire.copy_of(message, {**message.headers, COPY: True})
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
                await give_back(channel)
            await queue.cancel(tag)
            await give_back(channel)

    return Fault(f"events for {service} come twice and in disorder for {seconds:.1f} s", run)


def alarm(seconds: float) -> Fault:
    """RabbitMQ is out of memory: it accepts nothing more until that is over."""

    async def run(rig: Rig) -> None:
        async with rabbitmq_full(rig.supervisor):
            await asyncio.sleep(seconds)

    return Fault(f"RabbitMQ is full for {seconds:.1f} s", run)


def provider(count: int, seconds: float) -> Fault:
    async def run(rig: Rig) -> None:
        with contextlib.suppress(aiohttp.ClientError):
            for kind in _PROVIDER:
                await _simulator(rig, "POST", {"kind": kind, "count": count, "seconds": seconds})

    return Fault(f"the provider errs in every way, {count} times each, {seconds:.0f} s", run)


def time_passes(seconds: float) -> Fault:
    async def run(_: Rig) -> None:
        await asyncio.sleep(seconds)

    return Fault(f"nothing for {seconds:.0f} s", run)


async def heal(rig: Rig) -> None:
    """Stop all faults, and return when every process and part is ready again."""
    for proxy in rig.proxies.values():
        proxy.refuse(False)
        proxy.thaw()
    await _ready(rig, *rig.supervisor.names)
    await _simulator(rig, "DELETE")


async def inject(rig: Rig, faults: list[Fault], history: History, dice: random.Random) -> None:
    """Do `faults` one after the other, with some time to suffer from each."""
    for fault in faults:
        await asyncio.sleep(dice.uniform(0.8, 2.0))
        history.fault(fault.what)
        await fault.run(rig)


def short(dice: random.Random) -> list[Fault]:
    """Return one of each sort. Those come first whose mails take the longest to be sent."""
    first = [kill("notifications", wait=False), kill("mongod")]
    rest = [
        *(kill(name, wait=False) for name in ("products", "orders", "payments", "gateway")),
        kill("simulator", wait=False),
        kill("rabbitmq"),
        cut(None, "rabbitmq"),
        cut(None, "mongod"),
        freeze(None, "rabbitmq", dice.uniform(5, 6)),
        refuse("notifications", "aws", 3),
        disorder(dice.choice(SERVICES), 3),
        *(crash(name, point, dice.randint(2, 6)) for name, point in dice.sample(CRASHES, 2)),
    ]
    dice.shuffle(rest)
    return [
        provider(2, 3),
        *first,
        *rest,
    ]


def long(dice: random.Random, crashes: list[tuple[str, str]], count: int) -> list[Fault]:
    """Return `crashes` and about `count` others, in any order."""
    sorts: list[Callable[[], Fault]] = [
        lambda: kill(dice.choice(OWN)),
        lambda: kill(dice.choice(OWN)),
        lambda: kill(dice.choice(["rabbitmq", "mongod", "simulator"])),
        lambda: restart(dice.choice(OWN)),
        lambda: cut(*_way(dice)),
        lambda: refuse(*_way(dice), dice.uniform(1, 12)),
        lambda: freeze(*_way(dice), dice.uniform(2, 15)),
        lambda: break_off(*_way(dice), dice.uniform(1, 6)),
        lambda: disorder(dice.choice(SERVICES), dice.uniform(2, 8)),
        lambda: alarm(dice.uniform(1, 12)),
        lambda: step_down(dice.randint(2, 8)),
    ]
    faults = [crash(name, point, dice.randint(1, 20)) for name, point in crashes]
    faults += [sorts[number % len(sorts)]() for number in range(count)]
    faults += [provider(dice.randint(1, 8), dice.uniform(1, 20)) for _ in range(2)]
    dice.shuffle(faults)
    return faults


def _way(dice: random.Random) -> tuple[str | None, str]:
    """Return from whom (None: from all) to which part; only notifications uses AWS all the time."""
    part = dice.choice(list(PARTS))
    return "notifications" if part == "aws" else dice.choice([None, *SERVICES]), part


async def _ready(rig: Rig, *names: str) -> None:
    async with asyncio.timeout(READY_WITHIN):
        await rig.supervisor.ready(*names)


def _pid(rig: Rig, name: str) -> int | None:
    try:
        return rig.supervisor.pid(name)
    except ProcessLookupError:
        return None


async def _simulator(rig: Rig, method: str, content: Any = None) -> None:
    environment = rig.system.environment
    headers = {"Authorization": f"Bearer {environment['SIMULATOR_API_KEY']}"}
    async with (
        aiohttp.ClientSession(environment["SIMULATOR_URL"], headers=headers) as http,
        http.request(method, "/v1/faults", json=content) as response,
    ):
        response.raise_for_status()
