"""Measures whole purchases. The customers (`bench.customers`) run in a separate process."""

import asyncio
import sys
import tempfile
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import msgspec
import psutil

from bench.counts import Counter
from bench.customers import BEGIN, END, Bought, Data
from bench.shop import Shop
from bench.usage import Used, watching

_REST = 2.0
"""Seconds without purchases: to measure background jobs, and to finish the last purchase."""


class CannotBuy(Exception):
    """The customers did not finish. The message contains their output."""


class Purchases(msgspec.Struct, frozen=True, kw_only=True):
    """`counts` are the steps of each purchase."""

    bought: Bought
    used: Used
    customers_cpu: float
    counts: dict[str, float]


async def purchases(shop: Shop, *, customers: int, seconds: float, seed: int) -> Purchases:
    """Have `customers` buy for `seconds`, and measure while all of them are active.

    Work that follows a purchase overlaps with the next purchases. Steps are counted from the first
    purchase to the last.

    Raises:
        CannotBuy: a purchase did not end, or the customers failed in another way.
    """
    counter = Counter(shop.system)
    await counter.look_at_rest(_REST)
    before, began = await counter.now(), time.monotonic()
    async with _at_work(shop, customers, seconds, seed) as process:
        await _line(process, BEGIN)
        cpu = _cpu(process)
        async with watching(shop.system.supervisor) as used:
            await _line(process, END)
        cpu = _cpu(process) - cpu
        bought = msgspec.json.decode(await _line(process, "{"), type=Bought)
    await asyncio.sleep(_REST)
    counted = counter.between(before, await counter.now(), seconds=time.monotonic() - began)
    await shop.settled()
    counts = {name: round(count / bought.total, 2) for name, count in counted.items()}
    return Purchases(bought=bought, used=used, customers_cpu=cpu, counts=counts)


@asynccontextmanager
async def _at_work(
    shop: Shop, customers: int, seconds: float, seed: int
) -> AsyncGenerator[Process]:
    data = Data(tokens=[each.token for each in shop.customers], products=shop.products)
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        file.write(msgspec.json.encode(data))
        file.flush()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bench.customers"),
            *(shop.url, shop.system.environment["RABBITMQ_URL"], file.name),
            *(str(customers), str(seconds), str(seed)),
            stdout=PIPE,
            stderr=PIPE,
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def _line(process: Process, beginning: str) -> bytes:
    """Return the customers' next line of output, which must start with `beginning`."""
    if process.stdout is None or process.stderr is None:
        raise CannotBuy("the customers' output goes elsewhere")
    line = await process.stdout.readline()
    if not line.startswith(beginning.encode()):
        raise CannotBuy((line + await process.stderr.read()).decode()[-2000:])
    return line


def _cpu(process: Process) -> float:
    used = psutil.Process(process.pid).cpu_times()
    return used.user + used.system
