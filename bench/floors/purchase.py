"""The minimum cost of a purchase: the steps that any design needs to keep the promises.

    make bench ARGS=--parts

The unit cost of each step is measured alone, as CPU time of the client and the server, and
multiplied by the number of times that one purchase needs it with 128 customers. Unit costs include
a process's wake-ups. A floor has no rules, checks, logs or traces. It does not clear an outbox
either, because a design might have none.
"""

import asyncio
import time
from asyncio.subprocess import Process
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import msgspec
import psutil

from bench.floors.measure import FloorFailed, answers, end, floors, start
from bench.floors.parts import Done, forget_events
from bench.load import load
from bench.results import Step, Unit
from bench.shop import Shop
from bench.usage import cpu
from cartwheel.local import ports
from cartwheel.local.console import Console

_PATIENCE = 30.0
"""Seconds for a measuring process to start and to end."""


class _Units:
    """Measures unit costs with `shop`'s own mongod and RabbitMQ, for `seconds` each."""

    def __init__(self, shop: Shop, seconds: float) -> None:
        self._shop, self._seconds = shop, seconds
        self._supervisor = shop.system.supervisor
        self._environment = shop.system.environment
        self._at_rest: dict[str, float] = {}
        """CPU-seconds that each process takes in an idle second."""

    async def look_at_rest(self) -> None:
        before = cpu(self._supervisor)
        await asyncio.sleep(self._seconds)
        after = cpu(self._supervisor)
        self._at_rest = {name: (after[name] - before[name]) / self._seconds for name in after}

    async def written(self, kind: str) -> Unit:
        done, server = await self._beside("mongod", kind, self._environment["MONGODB_URI"])
        return done.unit(done.cpu, mongod=server)

    async def sent(self, kind: str) -> Unit:
        done, server = await self._beside("rabbitmq", kind, self._environment["RABBITMQ_URL"])
        return done.unit(done.cpu, rabbitmq=server)

    async def asked(self) -> Unit:
        """Measure requests. Both the caller and the answerer are clients of RabbitMQ."""
        url = self._environment["RABBITMQ_URL"]
        process = await start("bench.floors.parts", "answer", url, "0")
        try:
            await _first_line(process)
            before = _cpu(process)
            done, server = await self._beside("rabbitmq", "ask", url)
            return done.unit(done.cpu + _cpu(process) - before, rabbitmq=server)
        finally:
            await end(process)

    async def served(self) -> Unit:
        """Measure the server's side of an HTTP exchange."""
        async with self._echo() as (url, process):
            before = _cpu(process)
            loaded = await load(
                url, "place_order.lua", self._shop.data, connections=32, seconds=self._seconds
            )
            spent = _cpu(process) - before
        return Unit(client=1e6 * spent / loaded.requests)

    async def fetched(self) -> Unit:
        """Measure the client's side of an HTTP exchange."""
        async with self._echo() as (url, _):
            done = await self._done("post", url)
        return done.unit(done.cpu)

    async def coded(self) -> Unit:
        done = await self._done("code", "")
        return done.unit(done.cpu)

    @asynccontextmanager
    async def _echo(self) -> AsyncGenerator[tuple[str, Process]]:
        port = ports.find_free()
        process = await start("bench.floors.echo", str(port), "900", "201")
        try:
            url = f"http://127.0.0.1:{port}"
            await answers(url, process)
            yield url, process
        finally:
            await end(process)

    async def _beside(self, server: str, kind: str, url: str) -> tuple[Done, float]:
        """Return the repetitions, and the CPU-seconds that `server` used for them."""
        before, began = cpu(self._supervisor)[server], time.monotonic()
        done = await self._done(kind, url)
        spent = cpu(self._supervisor)[server] - before
        resting = self._at_rest[server] * (time.monotonic() - began)
        return done, max(0.0, spent - resting)

    async def _done(self, kind: str, url: str) -> Done:
        process = await start("bench.floors.parts", kind, url, str(self._seconds))
        try:
            async with asyncio.timeout(self._seconds + _PATIENCE):
                printed = (await process.communicate())[0]
        finally:
            await end(process)
        if process.returncode:
            raise FloorFailed(f"{kind} ended with {process.returncode}")
        return msgspec.json.decode(printed, type=Done)


async def parts(shop: Shop, console: Console, seconds: float) -> list[Step]:
    """Measure all unit costs; return them with the number that a purchase needs of each.

    Raises:
        FloorFailed: a unit cost could not be measured.
    """
    units = _Units(shop, seconds)
    table: tuple[tuple[str, float, str, Callable[[], Awaitable[Unit]]], ...] = (
        ("HTTP requests served", 3, "order, payment, webhook", units.served),
        ("HTTP requests made", 2, "charge, mail", units.fetched),
        ("requests and answers", 4, "order, stock, payment, what is to be paid", units.asked),
        (
            "documents inserted",
            4,
            "order, reservation, payment, mail",
            lambda: units.written("insert"),
        ),
        ("documents changed", 4, "verdict, PAID, sold, SENT", lambda: units.written("update")),
        ("products changed", 2, "the stock of two lines", lambda: units.written("reserve")),
        ("events published", 2, "payment.captured, order.paid", lambda: units.sent("publish")),
        ("events delivered", 3, "orders, products, notifications", lambda: units.sent("consume")),
        ("documents read and written as JSON", 8, "each that is stored", units.coded),
    )
    found: list[Step] = []
    with console.doing("what the system takes at rest"):
        await units.look_at_rest()
    async with floors(shop.system, seconds=seconds):
        try:
            for name, count, why, measure in table:
                with console.doing(f"the unit cost of {name}"):
                    found.append(Step(name=name, why=why, count=count, unit=await measure()))
        finally:
            await asyncio.to_thread(forget_events, shop.system.environment["RABBITMQ_URL"])
    return found


async def _first_line(process: Process) -> None:
    if process.stdout is None or not await process.stdout.readline():
        raise FloorFailed("who answers requests has ended")


def _cpu(process: Process) -> float:
    used = psutil.Process(process.pid).cpu_times()
    return used.user + used.system
