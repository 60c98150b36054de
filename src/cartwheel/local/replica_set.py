"""A MongoDB replica set with several members: forming it, and reading the members' states.

A member is named by its address, `HOST:PORT`. The caller starts the processes.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pymongo
from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure, PyMongoError

from cartwheel.local import mongod

Document = dict[str, Any]

_ANSWER_SECONDS = 1.0


async def answers(address: str) -> None:
    """Return when the member answers, whatever its state."""
    async with client(address) as connected:
        while True:
            with suppress(PyMongoError):
                await connected.admin.command("ping")
                return
            await asyncio.sleep(0.05)


async def form(addresses: Sequence[str]) -> None:
    """Make the members, which must answer, one replica set. Repeatable, even with new addresses.

    This returns before they have elected a primary; see `states`.
    """
    async with client(addresses[0]) as connected:
        try:
            known = (await connected.admin.command("replSetGetConfig"))["config"]
        except OperationFailure as failure:
            if failure.code != mongod.NOT_YET_INITIALIZED:
                raise
            wanted = _configuration(addresses)
            await connected.admin.command("replSetInitiate", wanted)
            return
        if [member["host"] for member in known["members"]] != list(addresses):
            moved = {**known, "version": known["version"] + 1}
            moved["members"] = [
                {**member, "host": address}
                for member, address in zip(known["members"], addresses, strict=True)
            ]
            # Forced: members that do not know their addresses cannot elect a primary.
            await connected.admin.command("replSetReconfig", moved, force=True)


def _configuration(addresses: Sequence[str]) -> Document:
    return {
        "_id": mongod.REPLICA_SET,
        "version": 1,
        "members": [{"_id": number, "host": host} for number, host in enumerate(addresses)],
        "settings": mongod.ELECTION,
    }


async def states(addresses: Sequence[str]) -> list[str]:
    """Return each member's state: PRIMARY, SECONDARY or OTHER; DOWN if it does not answer."""
    return await asyncio.gather(*map(_state, addresses))


async def _state(address: str) -> str:
    try:
        async with client(address) as connected:
            with pymongo.timeout(_ANSWER_SECONDS):
                hello = await connected.admin.command("hello")
    except PyMongoError:
        return "DOWN"
    if hello.get("isWritablePrimary"):
        return "PRIMARY"
    return "SECONDARY" if hello.get("secondary") else "OTHER"


def are_healthy(said: Sequence[str]) -> bool:
    """Return whether all members are up and exactly one of them is the primary."""
    return sorted(said) == ["PRIMARY", *["SECONDARY"] * (len(said) - 1)]


def client(address: str) -> AsyncMongoClient[Document]:
    """Return a client of this member only, for use in a `with`."""
    return AsyncMongoClient(
        address, directConnection=True, serverSelectionTimeoutMS=1000, timeoutMS=10_000
    )
