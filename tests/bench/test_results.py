"""The pure functions of `make bench`. These tests measure nothing."""

from pathlib import Path
from typing import Any

import pytest

from bench.load import LoadFailed, lua, read
from bench.report import changes
from bench.results import (
    FIGURES,
    Measured,
    Part,
    Result,
    Round,
    Run,
    Spread,
    combined,
    median,
    name_for,
    ratios,
    store,
    stored,
)

PRINTED = """\
Running 1s test @ http://127.0.0.1:8000
  2 threads and 10 connections
RESULT {"requests":1000,"seconds":2.0,"p50_ms":1.5,"p99_ms":9.0,"refused":0,%s}
"""


def run(per_second: float, cpu: dict[str, float] | None = None) -> Run:
    return Run(
        per_second=per_second,
        requests=100,
        seconds=1,
        p50_ms=1,
        p99_ms=2,
        statuses={},
        errors={},
        cpu=cpu or {},
        peak_mib={},
        generator_busy=0,
        others_busy=0,
    )


def measured(scenario: str, per_second: float, ratio: float | None = None) -> Measured:
    return Measured(
        scenario=scenario,
        title=scenario,
        unit="requests",
        connections=32,
        run=run(per_second),
        runs=[run(per_second)],
        rates=[per_second],
        floor=None,
        ratio=ratio,
    )


def result(at: str, *found: Measured) -> Result:
    return Result(
        at=at,
        commit="abc",
        machine={},
        versions={},
        options={},
        load_average={},
        took_s=1,
        measured=list(found),
        start_up=None,
        idle={},
        after_load={},
        growth=[],
        verify="clean",
    )


def test_the_median_is_the_run_in_the_middle_by_rate() -> None:
    assert median([run(30), run(10), run(20)]).per_second == 20


def test_the_median_of_an_even_number_of_runs_is_the_slower_middle_one() -> None:
    assert median([run(40), run(10), run(30), run(20)]).per_second == 20


def test_a_floor_adds_up_the_times_of_its_parts() -> None:
    parts = [Part(name="http", times=1, per_second=100), Part(name="amqp", times=2, per_second=50)]

    assert combined(parts).per_second == pytest.approx(1 / (0.01 + 0.04))


def test_the_line_that_the_script_prints_is_read() -> None:
    loaded = read(PRINTED % '"statuses":{"201":1000},"socket_errors":{"read":0}')

    assert loaded.per_second == 500
    assert loaded.unexpected("201") == {}


def test_unexpected_statuses_and_socket_errors_are_reported() -> None:
    loaded = read(PRINTED % '"statuses":{"201":990,"503":10},"socket_errors":{"timeout":3}')

    assert loaded.unexpected("201") == {"503": 10, "socket timeout": 3}


def test_output_without_that_line_is_a_failure() -> None:
    with pytest.raises(LoadFailed, match="unable to connect"):
        read("unable to connect to 127.0.0.1:8000")


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("a", '"a"'),
        (20, "20"),
        (["a", "b"], '{"a","b"}'),
        ({"limit": 20, "ids": ["x"]}, '{["limit"]=20,["ids"]={"x"}}'),
    ],
)
def test_data_is_written_as_lua(value: Any, written: str) -> None:
    assert lua(value) == written


def test_a_result_is_compared_with_the_newest_earlier_one_of_each_scenario() -> None:
    oldest = result("2026-11-01", measured("b", 50), measured("c", 5))
    newer = result("2026-11-02", measured("b", 100, 0.4))

    b, c, d = changes(
        result("2026-11-03", measured("b", 150, 0.5), measured("c", 6), measured("d", 1)),
        [newer, oldest],
    )

    assert (b.now, b.before, b.ratio, b.ratio_before) == (150, 100, 0.5, 0.4)
    assert (c.before, c.ratio_before) == (5, None)
    assert d.before is None


def test_a_second_result_of_a_day_gets_its_own_file(tmp_path: Path) -> None:
    for at in ("2026-11-03T10:00", "2026-11-03T09:00"):
        store(result(at), name_for(tmp_path, "2026-11-03"))

    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "2026-11-03-2.json",
        "2026-11-03.json",
    ]
    assert [each.at for each in stored(tmp_path)] == ["2026-11-03T09:00", "2026-11-03T10:00"]


def test_a_file_has_a_line_per_scenario_and_keeps_the_median_run_alone(tmp_path: Path) -> None:
    path = tmp_path / "2026-11-03.json"

    store(result("2026-11-03", measured("b", 100, 0.5), measured("c", 5)), path)

    assert sum('"scenario":' in line for line in path.read_text().splitlines()) == 2
    [found] = stored(tmp_path)
    assert [each.runs for each in found.measured] == [[], []]
    assert [(each.run.per_second, each.rates) for each in found.measured] == [
        (100, [100]),
        (5, [5]),
    ]


def test_two_sides_are_compared_round_by_round() -> None:
    # In the second round the machine was half as fast, for both sides.
    rounds = [Round(here=run(75), base=run(100)), Round(here=run(25), base=run(50))]

    assert ratios(rounds, FIGURES["per second"]) == Spread(0.625, 0.5, 0.75)


def test_emulators_do_not_count_as_cost_of_the_system() -> None:
    cpu = {"gateway": 2.0, "mongod": 4.0, "simulator": 1.0, "ministack": 0.5}

    assert FIGURES["CPU-ms"](run(1, cpu)) == 6
    assert FIGURES["CPU-ms, simulator and emulator"](run(1, cpu)) == 1.5


def test_a_figure_that_is_zero_on_the_other_side_has_no_ratio() -> None:
    rounds = [Round(here=run(1, {"mongod": 1}), base=run(1))]

    assert ratios(rounds, FIGURES["CPU-ms"]) is None
