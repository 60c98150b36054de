"""One of two systems that are measured side by side: `bench.against` starts and asks it.

    python -m bench.side [NAME=VALUE ...]

The words are settings. It runs the code that it is part of, in a folder of its own, and buys with
that code's own client, so that two revisions may differ in their API. A line of JSON on standard
input asks for something (`Asked`), a line on standard output answers. At the end of its input it
stops everything. What is asked and answered must remain readable for other revisions: fields are
added with a default only.
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
    """One run of a scenario after a warm-up, answered by `Run`."""

    scenario: str
    connections: int
    seconds: float
    seed: int


class Verify(msgspec.Struct, frozen=True, tag="verify"):
    """Answered by what `cartwheel verify` says."""


Asked = Load | Verify


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """The first line: the system is up and furnished."""

    commit: str
    versions: dict[str, str]
    start_s: float
    """From nothing to ready, in an empty folder."""
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
    # It has rested: its caches are cold.
    await bench.warm_up(scenario, asked.connections)
    return await bench.run(scenario, asked.connections, seed=asked.seed)


async def _until_the_input_ends(settings: Mapping[str, str]) -> None:
    """Serve, and stop when whoever asks has gone, even in the middle of something."""
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
    # `given` takes those that Cartwheel has a default for; processes inherit the others.
    os.environ.update(settings)
    try:
        asyncio.run(_until_the_input_ends(settings))
    except FAILURES as failure:
        report.show_failure(sentence(failure))
        sys.exit(1)


if __name__ == "__main__":
    main()
