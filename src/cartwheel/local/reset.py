"""`cartwheel reset`: delete everything that an instance has stored, wherever it is.

First everything is found and listed. If a server cannot be reached, or if anything is still in use,
nothing is deleted. Then the data on servers is deleted. The folder comes last, because it tells
where the rest is: so a reset that was interrupted may be repeated.
"""

import asyncio
import os
import shutil
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import groupby
from pathlib import Path

import msgspec
from aio_pika.abc import AbstractConnection
from aiormq.exceptions import AMQPError, ChannelInvalidStateError, ChannelNotFoundEntity
from pymongo.errors import OperationFailure, PyMongoError

from cartwheel.kernel import mongodb
from cartwheel.kernel.lowlevel import configure
from cartwheel.kernel.operating import connect_any, topology
from cartwheel.kernel.servers import Unusable
from cartwheel.local import instance, leftovers, places
from cartwheel.local.console import Console
from cartwheel.local.places import Elsewhere, Ledger, MongoDB, OneDatabase, Place, RabbitMQ
from cartwheel.services import DATABASES, GATEWAY, SERVICES

CONNECT_TIMEOUT_SECONDS = 5.0
DELETE_TIMEOUT_SECONDS = 60.0
"""Seconds allowed for deleting a database or a queue."""

LET_GO = 3.0
"""Seconds for which services that have just stopped may still appear connected."""

_CAN_FAIL = (PyMongoError, Unusable, AMQPError, ChannelInvalidStateError, OSError)


class Refused(Exception):
    """Nothing was deleted. The message says why."""


class StillUsed(Refused):
    """The deployment is running, perhaps on another machine."""


class NotAllDeleted(Exception):
    """Something is left. The result for each thing was printed."""


class Thing(msgspec.Struct, frozen=True):
    """Something that the deployment stored in a place. Its text is, say, `database shop_orders`."""

    place: Place
    kind: str
    name: str
    delete: Callable[[], Awaitable[object]]

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


def reset(
    home: Path, environment: Mapping[str, str], console: Console, *, ask: Callable[[], object]
) -> None:
    """Delete everything that the instance in `home` has stored.

    `ask` is called after everything was listed. If it raises, nothing is deleted.

    Raises:
        BadSettings, NotOurs: `environment` is wrong; nothing was deleted.
        InUse, Refused: it is running, or a server cannot be reached; nothing was deleted.
        NotAllDeleted: something is left. The reset may be repeated.
    """
    configure("cartwheel", "CRITICAL")  # libraries also log the errors that they raise
    with instance.lock(home):
        used = places.of_instance(home, environment)
        asyncio.run(leftovers.clear(home))
        with console.doing("looking at what there is"):
            things = asyncio.run(_look(used))
        _name(home, used, things, console)
        ask()
        asyncio.run(_look(used))  # it may have been started in the meantime
        if failed := asyncio.run(_delete(things, console)):
            raise NotAllDeleted(
                f"{failed} of {len(things)} and {home} are left; fix the cause, and repeat this"
            )
        _delete_folder(home)


def _name(home: Path, used: Sequence[Place], things: Sequence[Thing], console: Console) -> None:
    console.say("This deletes for good:")
    for place, there in groupby(things, key=lambda thing: thing.place):
        console.say(f"  {place}")
        for thing in there:
            console.say(f"    {thing}")
    console.say(f"  {home}, with all data in it")
    for place in used:
        if isinstance(place, Elsewhere):
            console.say(f"This stays, because it does not belong to the deployment: {place}")


async def _look(used: Sequence[Place]) -> list[Thing]:
    """Return everything that is stored in the places `used`.

    Raises:
        Refused: a server cannot be reached, or something is in use.
    """
    until = time.monotonic() + LET_GO
    while True:
        try:
            return _once([thing for place in used for thing in await _things(place)])
        except StillUsed:
            if time.monotonic() > until:
                raise
            await asyncio.sleep(0.2)


def _once(things: Sequence[Thing]) -> list[Thing]:
    """Return `things` without duplicates.

    A service that later got a server of its own has databases in two places; either may also
    have the other services' databases.
    """
    return list(
        {
            (places.hosts(each.place.uri), each.name)
            if isinstance(each.place, MongoDB | OneDatabase)
            else each: each
            for each in reversed(things)
        }.values()
    )[::-1]


async def _things(place: Place) -> list[Thing]:
    try:
        match place:
            case MongoDB(_, prefix, without):
                names = [prefix + name for name in DATABASES if name not in without]
                return await _databases(place, names, (*SERVICES, GATEWAY))
            case OneDatabase(_, service, name):
                return await _databases(place, [name], [service])
            case RabbitMQ():
                return await _queues(place)
            case Ledger(path):
                return [Thing(place, "file", path, partial(_delete_ledger, path))]
            case Elsewhere():
                return []
    except _CAN_FAIL as error:
        raise Refused(
            f"{place} cannot be reached or read, so nothing was deleted ({_reason(error)})"
        ) from None


def _reason(error: Exception) -> str:
    """Return the beginning of a library's message: MongoDB's have many lines."""
    return str(error).partition(" (configured timeouts")[0][:200] or type(error).__name__


async def _databases(
    place: MongoDB | OneDatabase, ours: Sequence[str], services: Sequence[str]
) -> list[Thing]:
    async with _mongodb(place, CONNECT_TIMEOUT_SECONDS) as client:
        there = await client.list_database_names()
        connected = await _connected(client)
    for service in services:
        if mongodb.application_name(service, place.prefix) in connected:
            raise StillUsed(f"{service} is connected to {place}; stop it first: cartwheel down")
    return [
        Thing(place, "database", name, partial(_drop_database, place, name))
        for name in ours
        if name in there
    ]


async def _connected(client: mongodb.Client) -> set[str]:
    """Return the names of connected applications, as far as our user may see them."""
    # If the user may not see them, the queues' consumers still show running services.
    with suppress(OperationFailure):
        connections = await client.admin.aggregate([{"$currentOp": {"idleConnections": True}}])
        return {str(each.get("appName")) async for each in connections}
    return set()


async def _drop_database(place: MongoDB | OneDatabase, name: str) -> None:
    async with _mongodb(place, DELETE_TIMEOUT_SECONDS) as client:
        await client.drop_database(name)


def _mongodb(place: MongoDB | OneDatabase, timeout: float) -> mongodb.Client:
    return mongodb.connect(place.uri, process="reset", prefix=place.prefix, timeout=timeout)


async def _queues(place: RabbitMQ) -> list[Thing]:
    things: list[Thing] = []
    async with await _rabbitmq(place) as connection:
        for service in SERVICES:
            for name in (*topology.queues(service), topology.shared_request_queue(service)):
                # One channel per check: RabbitMQ closes the channel if the queue is missing.
                with suppress(ChannelNotFoundEntity):
                    async with connection.channel() as channel:
                        queue = await channel.declare_queue(name, passive=True)
                    if queue.declaration_result.consumer_count:
                        raise StillUsed(
                            f"{service} takes messages from {place}; stop it first: cartwheel down"
                        )
                    things.append(Thing(place, "queue", name, partial(_delete_queue, place, name)))
        for name in topology.EXCHANGES:
            with suppress(ChannelNotFoundEntity):
                async with connection.channel() as channel:
                    await channel.get_exchange(name)
                things.append(
                    Thing(place, "exchange", name, partial(_delete_exchange, place, name))
                )
    return things


async def _delete_queue(place: RabbitMQ, name: str) -> None:
    async with await _rabbitmq(place) as connection, connection.channel() as channel:
        await channel.queue_delete(name, timeout=DELETE_TIMEOUT_SECONDS)


async def _delete_exchange(place: RabbitMQ, name: str) -> None:
    async with await _rabbitmq(place) as connection, connection.channel() as channel:
        await channel.exchange_delete(name, timeout=DELETE_TIMEOUT_SECONDS)


async def _rabbitmq(place: RabbitMQ) -> AbstractConnection:
    return await connect_any(place.url)


async def _delete_ledger(path: str) -> None:
    for suffix in ("", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            os.unlink(path + suffix)


async def _delete(things: Sequence[Thing], console: Console) -> int:
    """Delete all `things`, and print the result for each; return the number of failures."""
    failed = 0
    for thing in things:
        try:
            await thing.delete()
        except _CAN_FAIL as error:
            failed += 1
            console.say(f"✗ not deleted: {thing} in {thing.place} ({_reason(error)})")
        else:
            console.say(f"✓ deleted {thing}")
    return failed


def _delete_folder(home: Path) -> None:
    try:
        shutil.rmtree(home)
    except OSError as error:
        raise NotAllDeleted(f"{home} is left, or some of it: {error}") from None
