"""Measures the cost of hostile connections: the gateway's memory, and another client's delay.

    cartwheel up
    .venv/bin/python -m bench.attacks

Each attack uses 50 connections at once, which need no token. A closed connection is opened again.
Meanwhile another client requests /health/live twenty times a second. Loopback only.

With --once, a connection that the gateway has closed is not opened again. This measures only the
attack itself, without the cost of refusals and new connections. When all 50 are closed, which may
be soon, 50 others start the attack again, until the time is up. The other client then waits 10 ms
between two requests.
"""

import argparse
import asyncio
import contextlib
import os
import socket
import statistics
import struct
import time
from collections.abc import Mapping
from multiprocessing import Pipe, Process
from multiprocessing.connection import Connection

import msgspec
import psutil
from rich.console import Console
from rich.table import Table

from cartwheel.local import instance, ports

_GET = b"GET /health/live HTTP/1.1\r\nHost: x\r\n"
_LOGIN = b"POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
_CHUNKED = _LOGIN + b"Transfer-Encoding: chunked\r\n\r\n"
_BLOCK = 64 * 1024


class Attack(msgspec.Struct, frozen=True):
    """What a connection sends: a beginning, then the same data again and again, without end."""

    beginning: bytes
    again: bytes = b""
    reads: bool = True
    """Whether it reads the answers."""
    resets: bool = False
    """Whether it resets the connection after the beginning, and opens another."""


ATTACKS: Mapping[str, Attack] = {
    "a head without end": Attack(_GET, b"X-A: b\r\n"),
    "one header without end": Attack(_GET + b"X-A: ", b"b"),
    "empty lines": Attack(b"", b"\r\n"),
    "a body without end": Attack(_LOGIN + b"Content-Length: 10000000000\r\n\r\n[", b"1,"),
    "chunks of one byte": Attack(_CHUNKED, b"1\r\n[\r\n"),
    "a chunk extension without end": Attack(_CHUNKED + b"2;", b"a"),
    "extensions of many chunks": Attack(_CHUNKED, b"1;" + b"a" * 1000 + b"\r\n[\r\n"),
    "trailers without end": Attack(_CHUNKED + b"2\r\n{}\r\n0\r\n", b"ab:cd\r\n"),
    "one trailer without end": Attack(_CHUNKED + b"2\r\n{}\r\n0\r\nab:", b"c"),
    "pipelined requests": Attack(b"", _GET + b"\r\n"),
    "pipelined requests, answers unread": Attack(b"", _GET + b"\r\n", reads=False),
    "pipelined requests with a body": Attack(b"", _LOGIN + b"Content-Length: 2\r\n\r\n{}"),
    "pipelined requests with a chunked body": Attack(b"", _CHUNKED + b"2\r\n{}\r\n0\r\n\r\n"),
    "requests and a reset": Attack((_GET + b"X-A: " + b"a" * 900 + b"\r\n\r\n") * 130, resets=True),
    "silence": Attack(b""),
}


async def attack(
    port: int, what: Attack, *, seconds: float, connections: int = 50, once: bool = False
) -> int:
    """Attack 127.0.0.1:`port`; return the number of connections that were opened.

    With `once`, connections that the gateway closes are not opened again.
    """
    end = time.monotonic() + seconds
    each = (_attack(port, what, end, once=once) for _ in range(connections))
    return sum(await asyncio.gather(*each))


async def _attack(port: int, what: Attack, end: float, *, once: bool) -> int:
    block = what.again * (_BLOCK // len(what.again)) if what.again else b""
    made = 0
    while time.monotonic() < end and not (once and made and not what.resets):
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            made += 1
            reading = asyncio.create_task(_read(reader)) if what.reads else None
            try:
                async with asyncio.timeout(end - time.monotonic()):
                    if what.resets:
                        await _reset(writer, what.beginning)
                    else:
                        await _send(writer, what.beginning, block, reading)
            except TimeoutError:
                pass
            finally:
                if reading:
                    reading.cancel()
                writer.transport.abort()
        await asyncio.sleep(0.01)
    return made


async def _send(
    writer: asyncio.StreamWriter, beginning: bytes, block: bytes, reading: asyncio.Task[None] | None
) -> None:
    """Return when the server has closed the connection."""
    writer.write(beginning)
    while not (reading and reading.done()):
        writer.write(block)
        await writer.drain()
        await asyncio.sleep(0 if block else 0.05)


async def _reset(writer: asyncio.StreamWriter, beginning: bytes) -> None:
    no_farewell = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_farewell)
    writer.write(beginning)
    await writer.drain()


async def _read(reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(OSError):
        while await reader.read(_BLOCK):
            pass


class Peak:
    """The peak memory of a process since this object was created, in bytes (Linux)."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.before = psutil.Process(pid).memory_info().rss
        with open(f"/proc/{pid}/clear_refs", "w") as file:
            file.write("5")  # resets VmHWM (man 5 proc)

    def growth(self) -> int:
        with open(f"/proc/{self._pid}/status") as file:
            line = next(line for line in file if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024 - self.before


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds, megabytes and cores. `answers` counts those to the other client."""

    answers: int
    median: float
    p99: float
    slowest: float
    grown: float
    connections: int
    attackers: float
    gateway: float


async def measure(port: int, pid: int, name: str, seconds: float, *, once: bool) -> Measured:
    """Measure one attack. The attackers run in a separate process."""
    gateway, peak = psutil.Process(pid), Peak(pid)
    ours, theirs = Pipe()
    cpu, begun = _cpu(gateway), time.monotonic()
    waits: list[float] = []
    made, attackers_cpu = 0, 0.0
    while not made or (once and time.monotonic() - begun < seconds):
        attacker = Process(target=_attacker, args=(port, name, seconds, once, theirs))
        attacker.start()
        while attacker.is_alive():
            waits.append(await _health(port))
            await asyncio.sleep(0.01 if once else 0.05)
        more, more_cpu = ours.recv()
        attacker.join()
        made, attackers_cpu = made + more, attackers_cpu + more_cpu
    took = time.monotonic() - begun
    return Measured(
        answers=len(waits),
        median=statistics.median(waits) * 1000,
        p99=statistics.quantiles(waits, n=100, method="inclusive")[98] * 1000,
        slowest=max(waits) * 1000,
        grown=peak.growth() / 1e6,
        connections=made,
        attackers=attackers_cpu / took,
        gateway=(_cpu(gateway) - cpu) / took,
    )


def _attacker(port: int, name: str, seconds: float, once: bool, result: Connection) -> None:
    made = asyncio.run(attack(port, ATTACKS[name], seconds=seconds, once=once))
    result.send((made, time.process_time()))


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


async def _health(port: int) -> float:
    begun = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.2", 0))
    try:
        writer.write(_GET + b"Connection: close\r\n\r\n")
        answer = await reader.read()
        if not answer.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"/health/live answers {answer[:40]!r}")
    finally:
        writer.close()
    return time.monotonic() - begun


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=5.0, help="of each attack")
    parser.add_argument("--only", default="", help="attacks whose name contains this")
    parser.add_argument("--once", action="store_true", help="do not open closed connections again")
    given = parser.parse_args()
    environment = instance.environment(instance.folder())
    port = int(environment.get("PORT") or os.environ.get("PORT") or 8000)
    gateway = ports.holder(port)
    if gateway is None:
        raise SystemExit(f"Nothing listens on port {port}: start it with `cartwheel up`")
    title = f"50 connections, {given.seconds:.0f} s each" + (", made once" if given.once else "")
    table = Table(title=title, title_justify="left")
    for column in (
        "attack",
        "made",
        "answers",
        "MB more",
        "median ms",
        "p99 ms",
        "slowest ms",
        "attackers' cores",
        "gateway's cores",
    ):
        table.add_column(column, justify="left" if column == "attack" else "right")
    for name in ATTACKS:
        if given.only in name:
            got = asyncio.run(measure(port, gateway.pid, name, given.seconds, once=given.once))
            table.add_row(
                name,
                str(got.connections),
                str(got.answers),
                f"{got.grown:.0f}",
                *(f"{value:.1f}" for value in (got.median, got.p99, got.slowest)),
                *(f"{value:.2f}" for value in (got.attackers, got.gateway)),
            )
    Console().print(table)


if __name__ == "__main__":
    main()
