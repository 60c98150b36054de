"""Shows a result: tables in the terminal, and a chart together with earlier results."""

import importlib
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from bench.results import FIGURES, Compared, Comparison, Measured, Result, ratios, spread
from bench.usage import OWN, PARTS

_WIDTH = 140
_BAR = 30
"""The length of the bar for the largest rate of a scenario, in characters."""

_SHOWN_EARLIER = 4
"""How many of the newest earlier results the chart shows."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A scenario now and in the newest earlier result that has it."""

    scenario: str
    connections: int
    now: float
    before: float | None
    ratio: float | None
    ratio_before: float | None


def changes(result: Result, earlier: Sequence[Result]) -> list[Change]:
    known: dict[tuple[str, int], Measured] = {}
    for old in sorted(earlier, key=lambda each: each.at):
        known |= {(each.scenario, each.connections): each for each in old.measured}
    found: list[Change] = []
    for each in result.measured:
        before = known.get((each.scenario, each.connections))
        found.append(
            Change(
                scenario=each.scenario,
                connections=each.connections,
                now=each.run.per_second,
                before=before.run.per_second if before else None,
                ratio=each.ratio,
                ratio_before=before.ratio if before else None,
            )
        )
    return found


def show(result: Result, earlier: Sequence[Result]) -> None:
    console = _console()
    console.print(
        f"\nCartwheel {result.commit}, {result.at}, {result.machine['cores']} cores of "
        f"{result.machine['cpu']}; load average {result.load_average['before'][0]:.1f} before, "
        f"{result.load_average['after'][0]:.1f} after; took {result.took_s:.0f} s\n",
        highlight=False,
    )
    if result.measured:
        console.print(_rates(result), _notes(result), _costs(result), _peaks(result), sep="\n")
        if counted := [each for each in result.measured if each.run.counts]:
            console.print(_counts(counted))
        console.print(_against(changes(result, earlier)))
    if result.idle:
        console.print(_memory(result))
    if result.start_up is not None:
        console.print(
            f"start-up: {result.start_up.first_s:.1f} s in an empty folder, "
            f"{result.start_up.second_s:.1f} s the second time\n",
            highlight=False,
        )
    if result.growth:
        console.print(_growth(result))
    if result.steps:
        console.print(_steps(result))
    console.print(f"cartwheel verify: {result.verify}", highlight=False)


def show_comparison(found: Comparison) -> None:
    console = _console()
    console.print(
        f"\n{found.here.label} ({found.here.commit}) beside {found.base.label} "
        f"({found.base.commit}), in turn; {found.at}, {found.machine['cores']} cores of "
        f"{found.machine['cpu']}\n",
        highlight=False,
    )
    console.print(_ratios(found))
    if counted := [each for each in found.compared if each.rounds[0].here.counts]:
        console.print(_counts_of_both(counted))
    console.print(_ready(found), f"cartwheel verify: {found.verify}", highlight=False)


def show_failure(text: str) -> None:
    Console(stderr=True).print(f"✗ {text}", style="bold red", highlight=False, markup=False)


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=_WIDTH)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right")
    return table


def _rates(result: Result) -> Table:
    table = _table(
        "what was done (the median run)",
        *("scenario", "conn.", "per s", "unit", "p50 ms", "p99 ms", "errors"),
        *("floor/s", "of floor", "others' cores"),
    )
    for each in result.measured:
        run = each.run
        table.add_row(
            f"{each.scenario}: {each.title}",
            str(each.connections),
            f"{run.per_second:,.0f}",
            each.unit,
            f"{run.p50_ms:,.1f}",
            f"{run.p99_ms:,.1f}",
            str(sum(run.errors.values())),
            f"{each.floor.per_second:,.0f}" if each.floor else "",
            f"{each.ratio:.2f}" if each.ratio else "",
            f"{run.others_busy:.2f}",
        )
    return table


def _ratios(found: Comparison) -> Table:
    table = _table(
        "medians of the rounds, and the median, least and largest of their ratios; "
        "CPU of all processes but those that stand for the outside",
        *("scenario", "conn.", "", found.here.label, found.base.label, "ratio", "least", "most"),
    )
    for each in found.compared:
        where = (f"{each.scenario}: {each.title}", str(each.connections))
        for name, figure in FIGURES.items():
            ratio = ratios(each.rounds, figure)
            table.add_row(
                *where,
                name,
                f"{spread([figure(one.here) for one in each.rounds]).median:,.4g}",
                f"{spread([figure(one.base) for one in each.rounds]).median:,.4g}",
                *((f"{part:.2f}" for part in msgspec.structs.astuple(ratio)) if ratio else ()),
            )
            where = ("", "")
        noise = [[side.others_busy for side in (one.here, one.base)] for one in each.rounds]
        here, base = (statistics.median(side) for side in zip(*noise, strict=True))
        table.add_row("", "", "others' cores", f"{here:.2f}", f"{base:.2f}", end_section=True)
    return table


def _counts_of_both(counted: Sequence[Compared]) -> Table:
    heads = [f"{each.connections} {side}" for each in counted for side in ("this", "base")]
    table = _table("steps of each purchase (medians)", "step", *heads)
    for name in counted[0].rounds[0].here.counts:
        row: list[str] = []
        for each in counted:
            for runs in ([one.here for one in each.rounds], [one.base for one in each.rounds]):
                found = [run.counts.get(name, 0) for run in runs]
                row.append(f"{statistics.median(found):,.4g}")
        table.add_row(name, *row)
    return table


def _ready(found: Comparison) -> Table:
    table = _table(
        "start-up in an empty folder, and the idle five processes' memory",
        *("", "start s", "RSS MiB", "PSS MiB", "USS MiB"),
    )
    for side in (found.here, found.base):
        ours = [side.idle[name] for name in OWN if name in side.idle]
        sizes = [f"{sum(getattr(each, kind) for each in ours):.0f}" for kind in _KINDS]
        table.add_row(side.label, f"{side.start_s:.1f}", *sizes)
    return table


_KINDS = ("rss", "pss", "uss")


def _notes(result: Result) -> str:
    lines = [
        f"  {each.scenario}, {each.connections} connections: {note}"
        for each in result.measured
        if (note := "; ".join(filter(None, (each.note, _of_purchases(each)))))
    ]
    return "\n".join([*lines, ""])


def _of_purchases(each: Measured) -> str | None:
    details = each.run.details
    if "mailed_p50_ms" not in details:
        return None
    return (
        f"placed after {details['placed_p50_ms']:,.0f} ms, payment answered after "
        f"{details['answered_p50_ms']:,.0f}, PAID after {each.run.p50_ms:,.0f}, mailed after "
        f"{details['mailed_p50_ms']:,.0f} (p50); of a core MiniStack took "
        f"{details['ministack_busy']:.0%} and the simulator {details['simulator_busy']:.0%}"
    )


def _costs(result: Result) -> Table:
    names = (*OWN, *PARTS)
    table = _table("CPU-seconds per 1,000 of the unit", "scenario", "conn.", *names, "ours", "all")
    for each in result.measured:
        cpu = each.run.cpu
        ours = sum(cpu.get(name, 0) for name in OWN)
        figures = (*(cpu.get(name, 0) for name in names), ours, sum(cpu.values()))
        table.add_row(each.scenario, str(each.connections), *(f"{cost:.2f}" for cost in figures))
    return table


def _counts(counted: Sequence[Measured]) -> Table:
    names = counted[0].run.counts
    table = _table("steps of each purchase", "step", *(str(each.connections) for each in counted))
    for name in names:
        table.add_row(name, *(f"{each.run.counts.get(name, 0):,.4g}" for each in counted))
    return table


def _peaks(result: Result) -> Table:
    names = (*OWN, *PARTS)
    table = _table("peak resident memory, MiB", "scenario", "conn.", *names, "ours")
    for each in result.measured:
        runs = each.runs or [each.run]
        peaks = {name: max(run.peak_mib.get(name, 0) for run in runs) for name in names}
        ours = sum(peaks[name] for name in OWN)
        figures = (*peaks.values(), ours)
        table.add_row(each.scenario, str(each.connections), *(f"{size:.0f}" for size in figures))
    return table


def _memory(result: Result) -> Table:
    table = _table(
        "memory in MiB, idle and after the load",
        *("process", "RSS", "PSS", "USS", "RSS after", "PSS after", "USS after"),
    )
    for name in (*OWN, *PARTS):
        idle, after = result.idle.get(name), result.after_load.get(name)
        sizes = [
            f"{size:.0f}"
            for each in (idle, after)
            if each is not None
            for size in (each.rss, each.pss, each.uss)
        ]
        table.add_row(name, *sizes)
    ours = [result.idle[name] for name in OWN if name in result.idle]
    later = [result.after_load[name] for name in OWN if name in result.after_load]
    sums = [
        f"{sum(getattr(each, kind) for each in group):.0f}"
        for group in (ours, later)
        if group
        for kind in ("rss", "pss", "uss")
    ]
    table.add_row("the five of ours", *sums, style="bold")
    return table


def _steps(result: Result) -> Table:
    """The floor of a purchase, followed by the cost of real purchases in the same result."""
    table = _table(
        "what a purchase must cost",
        *("part", "count", "our µs", "mongod µs", "RabbitMQ µs", "floor ms"),
    )
    for step in result.steps:
        units = (step.unit.client, step.unit.mongod, step.unit.rabbitmq)
        table.add_row(
            f"{step.name}: {step.why}",
            f"{step.count:g}",
            *(f"{unit:,.0f}" if unit else "" for unit in units),
            f"{step.count * sum(units) / 1000:.2f}",
        )
    ours, mongod, rabbitmq = (
        sum(step.count * getattr(step.unit, side) for step in result.steps) / 1000
        for side in ("client", "mongod", "rabbitmq")
    )
    table.add_row(
        "in all, ms",
        "",
        *(f"{each:.2f}" for each in (ours, mongod, rabbitmq, ours + mongod + rabbitmq)),
        style="bold",
    )
    for each in result.measured:
        if each.scenario == "d":
            cpu = each.run.cpu
            took = (sum(cpu[name] for name in OWN), cpu["mongod"], cpu["rabbitmq"])
            table.add_row(
                f"taken by {each.connections} customers, ms",
                "",
                *(f"{part:.2f}" for part in (*took, sum(took))),
            )
    return table


def _growth(result: Result) -> Table:
    table = _table("how cost grows", "curve", "at")
    table.add_column("figures")
    for each in result.growth:
        figures = ", ".join(f"{name} {value:,.1f}" for name, value in each.figures.items())
        table.add_row(each.curve, f"{each.at:,}", figures)
    return table


def _against(found: Sequence[Change]) -> Table:
    """The chart for the terminal: bars of the rates now (█) and before (░), scaled row by row."""
    table = _table(
        "against the newest earlier result of each",
        *("scenario", "conn.", "per s", "before", "change", "of floor", "before"),
    )
    table.add_column("now █, before ░")
    largest: dict[str, float] = {}
    for each in found:
        rate = max(each.now, each.before or 0)
        largest[each.scenario] = max(largest.get(each.scenario, 0), rate)
    for each in found:
        scale = _BAR / largest[each.scenario]
        bars = "█" * round(each.now * scale)
        if each.before is not None:
            bars += "\n" + "░" * round(each.before * scale)
        table.add_row(
            each.scenario,
            str(each.connections),
            f"{each.now:,.0f}",
            f"{each.before:,.0f}" if each.before else "",
            f"{each.now / each.before - 1:+.0%}" if each.before else "",
            f"{each.ratio:.2f}" if each.ratio else "",
            f"{each.ratio_before:.2f}" if each.ratio_before else "",
            bars,
        )
    return table


def draw(result: Result, earlier: Sequence[Result], path: Path) -> Path | None:
    """Draw rates by connections, a panel per scenario; None without matplotlib or anything to draw.

    Drawn are this result, its floors, and the newest earlier results.
    """
    try:
        # Found when it runs: only `make bench` installs it, and `make check` does without.
        matplotlib: Any = importlib.import_module("matplotlib")
        matplotlib.use("Agg")
        pyplot: Any = importlib.import_module("matplotlib.pyplot")
    except ImportError:
        return None
    names = list(dict.fromkeys(each.scenario for each in result.measured))
    if not names:
        return None
    columns = min(len(names), 4)
    rows = -(-len(names) // columns)
    figure, axes = pyplot.subplots(
        rows, columns, figsize=(4 * columns, 3.4 * rows), squeeze=False, layout="constrained"
    )
    with_rates = [old for old in earlier if old.measured]
    shown = sorted(with_rates, key=lambda old: old.at)[-_SHOWN_EARLIER:]
    for panel, name in zip(axes.flat, names, strict=False):
        _panel(panel, name, result, shown)
    for panel in axes.flat[len(names) :]:
        panel.set_axis_off()
    handles = {
        label: handle
        for panel in axes.flat
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4)
    figure.suptitle(
        f"Cartwheel {result.commit}, {result.at[:10]}, {result.machine['cores']} cores: "
        "per second, by connections"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
    return path


def _panel(panel: Any, name: str, result: Result, earlier: Sequence[Result]) -> None:
    mine = [each for each in result.measured if each.scenario == name]
    places = {each.connections: number for number, each in enumerate(mine)}
    for age, old in enumerate(reversed(earlier)):
        theirs = [e for e in old.measured if e.scenario == name and e.connections in places]
        panel.plot(
            [places[each.connections] for each in theirs],
            [each.run.per_second for each in theirs],
            marker="o",
            markersize=3,
            linewidth=1,
            alpha=0.8,
            color=("#7da7d9", "#9fbfe0", "#bdd3ea", "#d7e4f2")[age],
            label=f"{old.at[:10]} {old.commit}",
        )
    panel.plot(
        [places[each.connections] for each in mine],
        [each.run.per_second for each in mine],
        marker="o",
        linewidth=2,
        color="#b3261e",
        label="this result",
    )
    with_floor = [each for each in mine if each.floor]
    if with_floor:
        panel.plot(
            [places[each.connections] for each in with_floor],
            [each.floor.per_second for each in with_floor if each.floor],
            marker="_",
            linestyle="--",
            color="#666666",
            label="floor",
        )
    panel.set_xticks(list(places.values()), [str(connections) for connections in places])
    panel.set_ylim(bottom=0)
    panel.set_title(f"{name}: {mine[0].title}", fontsize=9)
    panel.grid(axis="y", alpha=0.3)
