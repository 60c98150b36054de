"""What was measured, as `bench/results/<date>.json` holds it. Rates are per second."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import msgspec

from bench.usage import Memory


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a scenario."""

    per_second: float
    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    statuses: dict[str, int]
    errors: dict[str, int]
    """What came back that should not have, and how often."""
    cpu: dict[str, float]
    """CPU-seconds per 1,000 requests, of each process."""
    peak_mib: dict[str, float]
    generator_busy: float
    """Share of one core that the load took; near 1, it was the limit."""
    others_busy: float
    """Cores that everything else on the machine took meanwhile, the load not counted: noise."""
    details: dict[str, float] = {}
    counts: dict[str, float] = {}
    """Steps of each purchase (`bench.counts`)."""


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """What of a floor was measured alone, and how often one request needs it."""

    name: str
    times: float
    per_second: float


class Unit(msgspec.Struct, frozen=True):
    """Microseconds of CPU that a part of a purchase takes once: our side, and each server."""

    client: float = 0.0
    mongod: float = 0.0
    rabbitmq: float = 0.0


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A part of what a purchase must cost: `count` times `unit`; `why` tells what for."""

    name: str
    why: str
    count: float
    unit: Unit


class Floor(msgspec.Struct, frozen=True, kw_only=True):
    per_second: float
    parts: list[Part]


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """A scenario at a number of connections; `run` is the median one of `runs`, by rate."""

    scenario: str
    title: str
    unit: str
    connections: int
    run: Run
    runs: list[Run] = []
    """Shown after a measurement; a file keeps only their `rates`."""
    rates: list[float] = []
    floor: Floor | None
    ratio: float | None
    """This system's rate by the floor's."""
    note: str | None = None


class StartUp(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds from nothing to ready, everything being installed; `first_s` in an empty folder."""

    first_s: float
    second_s: float


class Grown(msgspec.Struct, frozen=True, kw_only=True):
    """One point of a curve: what was measured, at how much of what."""

    curve: str
    at: int
    figures: dict[str, float]


class Result(msgspec.Struct, frozen=True, kw_only=True):
    at: str
    commit: str
    machine: dict[str, Any]
    versions: dict[str, str]
    options: dict[str, Any]
    load_average: dict[str, list[float]]
    took_s: float
    measured: list[Measured]
    start_up: StartUp | None
    idle: dict[str, Memory]
    after_load: dict[str, Memory]
    growth: list[Grown]
    verify: str
    steps: list[Step] = []
    """What a purchase must cost."""


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One of two systems that were measured in turn; `start_s` as `StartUp.first_s`."""

    label: str
    commit: str
    start_s: float
    idle: dict[str, Memory]


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """A run of this code and one of its baseline, one right after the other."""

    here: Run
    base: Run


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    scenario: str
    title: str
    unit: str
    connections: int
    rounds: list[Round]


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """As `bench/results/against/<date>.json` holds it; `verify` is by side."""

    at: str
    machine: dict[str, Any]
    versions: dict[str, str]
    options: dict[str, Any]
    here: Side
    base: Side
    compared: list[Compared]
    verify: dict[str, str]


class Spread(msgspec.Struct, frozen=True):
    """Of some rounds' figures."""

    median: float
    least: float
    most: float


OUTSIDE = ("simulator", "ministack")
"""Stand for the card provider and for AWS."""

FIGURES: Mapping[str, Callable[[Run], float]] = {
    "CPU-ms": lambda run: sum(run.cpu.values()) - _outside(run),
    "CPU-ms, simulator and emulator": lambda run: _outside(run),
    "per second": lambda run: run.per_second,
    "p50 ms": lambda run: run.p50_ms,
    "p99 ms": lambda run: run.p99_ms,
}
"""What is compared."""


def _outside(run: Run) -> float:
    return sum(run.cpu.get(name, 0.0) for name in OUTSIDE)


def spread(figures: Sequence[float]) -> Spread:
    return Spread(statistics.median(figures), min(figures), max(figures))


def ratios(rounds: Sequence[Round], figure: Callable[[Run], float]) -> Spread | None:
    """Return this code's figure by its baseline's, round by round; None where that one is 0."""
    pairs = [(figure(each.here), figure(each.base)) for each in rounds]
    return spread([here / base for here, base in pairs]) if all(b for _, b in pairs) else None


def median(runs: Sequence[Run]) -> Run:
    """Return the run in the middle by rate; of an even number the slower of the two."""
    return sorted(runs, key=lambda run: run.per_second)[(len(runs) - 1) // 2]


def combined(parts: Sequence[Part]) -> Floor:
    """Return the rate at which all `parts` can be done one after the other."""
    seconds = sum(part.times / part.per_second for part in parts)
    return Floor(per_second=1 / seconds, parts=list(parts))


def name_for(folder: Path, date: str) -> Path:
    """Return a file for a result of `date` that is not there yet."""
    path, number = folder / f"{date}.json", 1
    while path.exists():
        number += 1
        path = folder / f"{date}-{number}.json"
    return path


def store(result: Result | Comparison, path: Path) -> None:
    """Write `result` to `path`, with one line per scenario."""
    if isinstance(result, Result):
        medians = [msgspec.structs.replace(each, runs=[]) for each in result.measured]
        result = msgspec.structs.replace(result, measured=medians)
    fields: dict[str, Any] = msgspec.to_builtins(result)
    lines = (f"{_json(name)}: {_one_per_line(value)}" for name, value in fields.items())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def _one_per_line(value: Any) -> str:
    if not isinstance(value, list) or not value:
        return _json(value)
    return "[\n" + ",\n".join(map(_json, cast("list[Any]", value))) + "\n]"


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def stored(folder: Path) -> list[Result]:
    """Return the results in `folder`, oldest first."""
    found = [msgspec.json.decode(path.read_bytes(), type=Result) for path in folder.glob("*.json")]
    return sorted(found, key=lambda result: result.at)
