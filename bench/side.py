"""One of two compared systems. `bench.against` starts it and sends it requests.

    python -m bench.side [NAME=VALUE ...]

The arguments are settings. It runs the code that it belongs to, in its own folder, and buys with
that code's client, so the two revisions may have different APIs. A line of JSON on standard input
is a request (`Asked`); a line on standard output is the answer. At the end of the input it stops
everything. Other revisions must be able to read requests and answers, so new fields need a default.
"""

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from bench import machine, report
from bench.failures import FAILURES, sentence
from bench.results import Run
from bench.scenarios import SCENARIOS, Bench
from bench.shop import Shop, open_shop
from bench.usage import Memory, memory_at_rest
from cartwheel.kernel import install_wait_for
from cartwheel.local.console import Console
from cartwheel.local.up import running

_ROOT = Path(__file__).parents[1]


class Load(msgspec.Struct, frozen=True, kw_only=True, tag="load"):
    """Run a scenario after a warm-up; answered with `Run`."""

    scenario: str
    connections: int
    seconds: float
    seed: int


class Verify(msgspec.Struct, frozen=True, tag="verify"):
    """Run `cartwheel verify`; answered with its verdict."""


Asked = Load | Verify


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """The first line: the system is up and has its data."""

    commit: str
    versions: dict[str, str]
    start_s: float
    """Seconds from the start in an empty folder until ready."""
    idle: dict[str, Memory]


async def serve(settings: Mapping[str, str], asked: asyncio.Queue[bytes], console: Console) -> None:
    with tempfile.TemporaryDirectory(prefix="cartwheel-bench-") as folder:
        began = time.monotonic()
        async with (
            running(Path(folder), given=settings, console=console) as system,
            open_shop(system) as shop,
        ):
            started = time.monotonic() - began
            idle = await memory_at_rest(system.supervisor)
            await shop.furnish(console)
            await shop.settled()
            _say(
                Ready(
                    commit=machine.commit(_ROOT),
                    versions=await machine.versions(system),
                    start_s=round(started, 2),
                    idle=idle,
                )
            )
            while True:
                what: Asked = msgspec.json.decode(await asked.get(), type=Asked)
                match what:
                    case Load() as load:
                        _say(await _run(shop, load))
                    case Verify():
                        _say(await machine.verified(system))


async def _run(shop: Shop, asked: Load) -> Run:
    (scenario,) = (each for each in SCENARIOS if each.name == asked.scenario)
    bench = Bench(shop=shop, console=Console(quiet=True), seconds=asked.seconds, times=1)
    # Warm up first: after the pause its caches are cold.
    await bench.warm_up(scenario, asked.connections)
    return await bench.run(scenario, asked.connections, seed=asked.seed)


async def _until_the_input_ends(settings: Mapping[str, str]) -> None:
    """Serve until the input ends, and stop then, even in the middle of a request."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    asked: asyncio.Queue[bytes] = asyncio.Queue()
    serving = asyncio.create_task(serve(settings, asked, Console()))

    async def read() -> None:
        async for line in reader:
            asked.put_nowait(line)
        serving.cancel()

    reading = asyncio.create_task(read())
    try:
        with suppress(asyncio.CancelledError):
            await serving
    finally:
        reading.cancel()


def _say(answer: object) -> None:
    sys.stdout.write(f"{msgspec.json.encode(answer).decode()}\n")
    sys.stdout.flush()


def main() -> None:
    install_wait_for()
    settings = dict(word.split("=", 1) for word in sys.argv[1:])
    # `given` takes the settings for which Cartwheel has a default. Processes inherit the others.
    os.environ.update(settings)
    try:
        asyncio.run(_until_the_input_ends(settings))
    except FAILURES as failure:
        report.show_failure(sentence(failure))
        sys.exit(1)


if __name__ == "__main__":
    main()
