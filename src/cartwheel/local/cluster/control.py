"""The connection from `cartwheel cluster kill …` in another terminal to the running cluster.

`cartwheel cluster up` listens on a socket that only its owner can open. A connection carries one
order and one answer, each a line of JSON.
"""

import asyncio
import socket
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Literal

import msgspec

from cartwheel.local import notify
from cartwheel.local.cluster.faults import Faults, NoSuchProcess
from cartwheel.local.cluster.table import Row, rows
from cartwheel.local.supervisor import Supervisor

Verb = Literal["kill", "stop", "partition", "heal", "restart", "status"]

_SOCKET = "control"
_LONGEST_ORDER = 4096


class NotRunning(Exception):
    """No cluster is running."""


class Order(msgspec.Struct, frozen=True):
    """What to do to which processes. All are done at once, except for restarts."""

    verb: Verb
    names: tuple[str, ...] = ()


class Answer(msgspec.Struct, frozen=True):
    """The reason for a refusal (empty if the order was done), and the processes' states."""

    refused: str = ""
    mistyped: bool = False
    rows: tuple[Row, ...] = ()


@asynccontextmanager
async def listening(faults: Faults, supervisor: Supervisor) -> AsyncGenerator[None]:
    """Accept orders for as long as the body runs."""
    server = await asyncio.start_unix_server(
        partial(_take, faults, supervisor), supervisor.sockets / _SOCKET, limit=_LONGEST_ORDER
    )
    try:
        yield
    finally:
        server.close()


async def _take(
    faults: Faults, supervisor: Supervisor, reader: StreamReader, writer: StreamWriter
) -> None:
    try:
        order = msgspec.json.decode(await reader.readline(), type=Order)
        refused = await _carry_out(order, faults)
        answer = Answer(
            refused="\n".join(map(str, refused)),
            mistyped=any(isinstance(each, NoSuchProcess) for each in refused),
            rows=tuple(rows(faults, supervisor)),
        )
        writer.write(msgspec.json.encode(answer))
        await writer.drain()
    except (OSError, ValueError):  # not an order, or the sender no longer waits for the answer
        pass
    finally:
        writer.close()


async def _carry_out(order: Order, faults: Faults) -> list[Exception]:
    """Carry out `order`; return the refusals and failures."""
    does: dict[Verb, Callable[[str], Awaitable[None]]] = {
        "kill": faults.kill,
        "stop": faults.stop,
        "partition": faults.partition,
        "heal": faults.heal,
        "restart": faults.restart,
    }
    try:
        faults.check(order.names)
    except NoSuchProcess as wrong:
        return [wrong]
    rolling = order.verb == "restart"
    for names in [[name] for name in order.names] if rolling else [order.names]:
        ended = await asyncio.gather(
            *(does[order.verb](name) for name in names), return_exceptions=True
        )
        if refused := [each for each in ended if isinstance(each, Exception)]:
            return refused
    return []


def give(home: Path, order: Order) -> Answer:
    """Have the cluster at `home` carry out `order`; return its answer when that is done.

    Raises:
        NotRunning: no cluster is running there.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(str(notify.folder_of(home) / _SOCKET))
        except OSError:
            raise NotRunning("No cluster runs from here; start it: make cluster") from None
        connection.sendall(msgspec.json.encode(order) + b"\n")
        with connection.makefile("rb") as answer:
            said = answer.read()
    if not said:
        raise NotRunning("The cluster has ended meanwhile")
    return msgspec.json.decode(said, type=Answer)
