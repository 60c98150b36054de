"""Measures the parts of floors, with the running system's own mongod and RabbitMQ.

async with floors(system) as bare:
    await bare.http("list.lua", data, connections=32, size=900, status=200)
    await bare.amqp(connections=32, size=900)
    await bare.mongo("get_order", connections=32)

It removes the database and the queue `bench_floor` at the end.
"""

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import aiormq
from pymongo import AsyncMongoClient

from bench.floors import amqp, mongo
from bench.load import load
from cartwheel.local import ports
from cartwheel.local.up import System

MOST_AT_ONCE = 64
"""The largest number of concurrent messages and calls. More would only wait for each other: 512
transactions on the driver's 100 connections reach a tenth of the rate of 32."""

_LATER = 0.05


class FloorFailed(Exception):
    """A part of a floor could not be measured."""


class Bare:
    """Made by `floors`. Every method returns a rate per second, and caches it until `forget`."""

    def __init__(self, system: System, seconds: float) -> None:
        self._environment = system.environment
        self._seconds = seconds
        self._known: dict[tuple[object, ...], float] = {}

    def forget(self) -> None:
        """Clear the cache, because the machine's speed changes with time."""
        self._known.clear()

    async def http(
        self, script: str, data: Mapping[str, Any], *, connections: int, size: int, status: int
    ) -> float:
        """Measure a minimal ASGI app that answers `size` bytes, with the scenario's load."""
        key = ("http", script, connections, size, status)
        if key not in self._known:
            port = ports.find_free()
            process = await start("bench.floors.echo", str(port), str(size), str(status))
            try:
                url = f"http://127.0.0.1:{port}"
                await answers(url, process)
                await load(url, script, data, connections=connections, seconds=1)
                loaded = await load(
                    url, script, data, connections=connections, seconds=self._seconds
                )
            finally:
                await end(process)
            self._known[key] = loaded.per_second
        return self._known[key]

    async def amqp(self, *, connections: int, size: int) -> float:
        """Measure round trips whose answers have `size` bytes."""
        at_once = min(connections, MOST_AT_ONCE)
        key = ("amqp", at_once, size)
        if key not in self._known:
            url = self._environment["RABBITMQ_URL"]
            replier = await start("bench.floors.amqp", "replier", url)
            try:
                if replier.stdout is None or not await replier.stdout.readline():
                    raise FloorFailed("the bare replier ended")
                numbers = (str(at_once), str(size), str(self._seconds))
                self._known[key] = await _printed("bench.floors.amqp", "requester", url, *numbers)
            finally:
                await end(replier)
        return self._known[key]

    async def mongo(self, work: str, *, connections: int) -> float:
        """Measure calls of `work`, a method of `mongo.Work`."""
        at_once = min(connections, MOST_AT_ONCE)
        key = ("mongo", work, at_once)
        if key not in self._known:
            uri = self._environment["MONGODB_URI"]
            numbers = (str(at_once), str(self._seconds))
            self._known[key] = await _printed("bench.floors.mongo", uri, work, *numbers)
        return self._known[key]


@asynccontextmanager
async def floors(system: System, *, seconds: float) -> AsyncGenerator[Bare]:
    """Yield a `Bare` that works on copies of the system's current orders and products."""
    async with AsyncMongoClient[dict[str, Any]](system.environment["MONGODB_URI"]) as client:
        await client.drop_database(mongo.DATABASE)
        for name in ("products", "orders"):
            out = {"$out": {"db": mongo.DATABASE, "coll": name}}
            await (await client[name][name].aggregate([{"$limit": 5_000}, out])).to_list()
        listing = client[mongo.DATABASE]["products"]
        await listing.create_index([("status", 1), ("_id", 1)])
        try:
            yield Bare(system, seconds)
        finally:
            await client.drop_database(mongo.DATABASE)
            connection = await aiormq.connect(system.environment["RABBITMQ_URL"])
            channel = await connection.channel()
            await channel.queue_delete(amqp.QUEUE)
            await connection.close()


async def start(module: str, *arguments: str) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *arguments, stdout=PIPE
    )


async def _printed(module: str, *arguments: str) -> float:
    process = await start(module, *arguments)
    try:
        output, _ = await process.communicate()
    finally:
        await end(process)
    if process.returncode:
        raise FloorFailed(f"{module} {' '.join(arguments)} ended with {process.returncode}")
    return float(output)


async def answers(url: str, process: Process) -> None:
    async with aiohttp.ClientSession() as http:
        while process.returncode is None:
            try:
                async with http.get(url):
                    return
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(_LATER)
    raise FloorFailed("the bare HTTP server ended")


async def end(process: Process) -> None:
    if process.returncode is None:
        process.kill()
    await process.wait()
