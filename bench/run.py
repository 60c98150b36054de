"""`make bench`: start the system in its own folder, load it, and show the results.

    make bench                                        everything, about ten minutes
    make bench ARGS="--only b,c --connections 32"     some of it
    make bench ARGS="--growth"                        how cost grows: replicas, products, orders
    make bench ARGS="--against main~1 --only d"       compared with another revision, in one run

The load comes from wrk over 127.0.0.1. Figures from two machines, or two days, say little about
each other; a scenario's ratio to its floor, taken in the same minute, does. The result is stored
in bench/results, beside a chart; `cartwheel verify` has the last word.
"""

import argparse
import asyncio
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from bench import against, growth, machine, report, results
from bench.against import Baseline
from bench.failures import FAILURES, sentence
from bench.floors import purchase
from bench.floors.measure import Bare, floors
from bench.load import require_wrk
from bench.results import Grown, Measured, Result, StartUp, Step
from bench.scenarios import SCENARIOS, Bench, emulator_rate
from bench.shop import open_shop
from bench.usage import Memory, memory, memory_at_rest
from cartwheel.kernel import install_wait_for
from cartwheel.local.console import Console
from cartwheel.local.up import System, running

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results"
_FLOOR_SECONDS = 2.0

NEVER = str(24 * 3600)
_NAMES = (*(scenario.name for scenario in SCENARIOS), "g")


class Options(msgspec.Struct, frozen=True, kw_only=True):
    only: tuple[str, ...]
    connections: tuple[int, ...]
    seconds: float
    times: int
    floors: bool
    growth: bool
    parts: bool
    against: Baseline | None
    results: Path


class Found(msgspec.Struct):
    """The results so far."""

    measured: list[Measured] = []
    start_up: StartUp | None = None
    idle: dict[str, Memory] = {}
    after_load: dict[str, Memory] = {}
    growth: list[Grown] = []
    steps: list[Step] = []
    versions: dict[str, str] = {}


def options(words: Sequence[str] | None = None) -> Options:
    parser = argparse.ArgumentParser(
        prog="make bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    scenarios = "; ".join(f"{each.name} = {each.title}" for each in SCENARIOS)
    parser.add_argument(
        "--only",
        default=",".join(_NAMES),
        help=f"scenarios, by commas: {scenarios}; g = memory and start-up".replace("%", "%%"),
    )
    parser.add_argument(
        "--connections", default="1,32,128,512", help="of these, those a scenario makes sense at"
    )
    parser.add_argument("--seconds", type=float, default=5, help="of each run (default 5)")
    parser.add_argument("--times", type=int, default=3, help="runs; the median counts (default 3)")
    parser.add_argument("--no-floors", action="store_true", help="without what bare parts can do")
    parser.add_argument("--growth", action="store_true", help="the curves instead of the scenarios")
    parser.add_argument(
        "--parts", action="store_true", help="what a purchase must cost, part by part, and d"
    )
    parser.add_argument(
        "--against", metavar="REV", help="beside this revision, in turn (it needs bench/side.py)"
    )
    parser.add_argument(
        "--against-setting",
        metavar="NAME=VALUE",
        help="beside the same code (or REV) with this variable in its environment",
    )
    parser.add_argument(
        "--results", type=Path, default=RESULTS, help="where results are (default bench/results)"
    )
    given = parser.parse_args(words)
    only = tuple(given.only.split(","))
    if unknown := set(only) - set(_NAMES):
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}")
    return Options(
        only=only,
        connections=tuple(int(number) for number in given.connections.split(",")),
        seconds=given.seconds,
        times=given.times,
        floors=not given.no_floors,
        growth=given.growth,
        parts=given.parts,
        against=_baseline(parser, given.against, given.against_setting),
        results=given.results,
    )


def _baseline(
    parser: argparse.ArgumentParser, revision: str | None, setting: str | None
) -> Baseline | None:
    if setting is None:
        return Baseline(revision=revision) if revision else None
    name, equals, value = setting.partition("=")
    if not name or not equals:
        parser.error("--against-setting takes NAME=VALUE")
    return Baseline(revision=revision, setting={name: value})


async def side_by_side(baseline: Baseline, chosen: Options, console: Console) -> int:
    """Compare this code with `baseline`, show and store the result; return the exit status."""
    options = against.Options(
        only=chosen.only,
        connections=chosen.connections,
        seconds=chosen.seconds,
        times=chosen.times,
    )
    try:
        found = await against.compare(baseline, options, console)
    except against.SideFailed as failure:
        report.show_failure(str(failure))
        return 1
    report.show_comparison(found)
    if any(verdict != "clean" for verdict in found.verify.values()):
        report.show_failure(f"cartwheel verify: {found.verify}")
        return 1
    path = results.name_for(chosen.results / "against", f"{datetime.now(UTC):%Y-%m-%d}")
    results.store(found, path)
    console.say(f"stored {path}")
    return 0


async def bench(chosen: Options, console: Console) -> int:
    """Measure, show and store the result; return the exit status."""
    began, found = time.time(), Found()
    load_before = list(os.getloadavg())
    verdict = "not run"
    try:
        if chosen.growth:
            found.growth, found.versions, verdict = await growth.curves(
                console, seconds=chosen.seconds
            )
        else:
            verdict = await _scenarios(chosen, console, found)
    except FAILURES as failure:
        report.show_failure(sentence(failure))
        return 1
    result = Result(
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=machine.commit(ROOT),
        machine=machine.described(),
        versions=found.versions,
        options={
            "only": chosen.only,
            "connections": chosen.connections,
            "seconds": chosen.seconds,
            "times": chosen.times,
            "floors": chosen.floors,
        },
        load_average={"before": load_before, "after": list(os.getloadavg())},
        took_s=round(time.time() - began, 1),
        measured=found.measured,
        start_up=found.start_up,
        idle=found.idle,
        after_load=found.after_load,
        growth=found.growth,
        steps=found.steps,
        verify=verdict,
    )
    earlier = results.stored(chosen.results)
    report.show(result, earlier)
    if verdict != "clean":
        report.show_failure(f"cartwheel verify: {verdict}")
        return 1
    path = results.name_for(chosen.results, f"{datetime.now(UTC):%Y-%m-%d}")
    results.store(result, path)
    console.say(f"stored {path}")
    if chart := report.draw(result, earlier, chosen.results / "chart.png"):
        console.say(f"drew {chart}")
    return 0


async def _scenarios(chosen: Options, console: Console, found: Found) -> str:
    """Fill `found`; return the verdict of `cartwheel verify`."""
    with tempfile.TemporaryDirectory(prefix="cartwheel-bench-") as folder:
        home = Path(folder)
        first = second = 0.0
        if "g" in chosen.only:
            began = time.monotonic()
            async with running(home, given={}, console=console):
                first = time.monotonic() - began
        began = time.monotonic()
        async with running(home, given={}, console=console) as system:
            second = time.monotonic() - began
            if "g" in chosen.only:
                found.start_up = StartUp(first_s=round(first, 2), second_s=round(second, 2))
                found.idle = await memory_at_rest(system.supervisor)
            found.versions = await machine.versions(system)
            await _loaded(chosen, console, found, system)
            if "g" in chosen.only:
                found.after_load = memory(system.supervisor)
            with console.doing("cartwheel verify"):
                return await machine.verified(system)


async def _loaded(chosen: Options, console: Console, found: Found, system: System) -> None:
    """Run the chosen scenarios."""
    async with open_shop(system) as shop:
        await shop.furnish(console)
        await shop.settled()
        async with _floors(system, wanted=chosen.floors) as bare:
            measuring = Bench(
                shop=shop,
                console=console,
                seconds=chosen.seconds,
                times=chosen.times,
                bare=bare,
            )
            for scenario in SCENARIOS:
                if scenario.name not in chosen.only:
                    continue
                if bare is not None:
                    bare.forget()
                for connections in scenario.connections:
                    if connections in chosen.connections:
                        found.measured.append(await measuring.measure(scenario, connections))
                if scenario.name == "d":
                    await _compare_with_emulator(found, measuring)
        if chosen.parts:
            found.steps = await purchase.parts(shop, console, chosen.seconds)


async def _compare_with_emulator(found: Found, measuring: Bench) -> None:
    """Note at the purchases how many mails MiniStack takes when it has nothing else to do."""
    with measuring.console.doing("how many mails MiniStack takes"):
        rate = await emulator_rate(measuring.shop, measuring.seconds)
    for number, each in enumerate(found.measured):
        if each.scenario == "d":
            said = f"MiniStack alone takes {rate:,.0f} mails/s"
            note = f"{each.note}; {said}" if each.note else said
            found.measured[number] = msgspec.structs.replace(each, note=note)


@asynccontextmanager
async def _floors(system: System, *, wanted: bool) -> AsyncGenerator[Bare | None]:
    if not wanted:
        yield None
        return
    async with floors(system, seconds=_FLOOR_SECONDS) as bare:
        yield bare


def main() -> None:
    chosen = options()
    install_wait_for()
    require_wrk()
    # The orders of a run are never paid. They must not expire during the run.
    os.environ["PAYMENT_DEADLINE_SECONDS"] = NEVER
    os.environ["MAX_OPEN_ORDERS"] = "0"
    # All load comes from one address.
    os.environ["RATE_LIMITS"] = "off"
    # SIGTERM, like Ctrl-C, must leave nothing behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console = Console()
    try:
        status = asyncio.run(
            side_by_side(chosen.against, chosen, console)
            if chosen.against
            else bench(chosen, console)
        )
    except KeyboardInterrupt:
        sys.stderr.write("\nstopped; nothing was stored\n")
        status = 130
    sys.exit(status)


if __name__ == "__main__":
    main()
