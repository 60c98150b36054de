"""No command is silent for long, on a terminal or in a log."""

import asyncio
import os
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager

import pytest

from cartwheel.local import console

from .. import progress


def test_a_long_step_is_reported_again(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "PATIENCE_SECONDS", 0.2)

    with console.Console().doing("waiting"):
        time.sleep(0.6)

    first, *again, last = capsys.readouterr().err.splitlines()
    assert first == "… waiting"
    assert again
    assert all(line.startswith("  still waiting (") for line in again)
    assert last.startswith("✓ waiting (")


def test_a_long_step_reports_its_progress(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "PATIENCE_SECONDS", 0.2)

    with console.Console().doing("filling") as so_far:
        so_far("40 %")
        time.sleep(0.6)

    _, *again, last = capsys.readouterr().err.splitlines()
    assert again
    assert all(line.startswith("  still filling: 40 % (") for line in again)
    assert last.startswith("✓ filling (")


def test_a_failed_step_is_not_reported_as_done(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="no"), console.Console().doing("trying"):
        raise ValueError("no")

    assert "✓" not in capsys.readouterr().err


async def shown(script: str) -> tuple[int | None, str, str]:
    """Return status, output and messages of a Python script that is run by `shown`."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cartwheel.local.shown", "trying", sys.executable, "-c", script),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, messages = await process.communicate()
    return process.returncode, output.decode(), messages.decode()


async def test_progress_is_shown_for_a_silent_command_of_the_makefile() -> None:
    status, output, messages = await shown("import time; time.sleep(2.5); print('0 errors')")

    first, *again, last = messages.splitlines()
    assert (status, output) == (0, "0 errors\n")
    assert first == "… trying"
    assert again
    assert all(line.startswith("  still trying (") for line in again)
    assert last.startswith("✓ trying (")


async def test_the_whole_output_of_a_failing_command_of_the_makefile_is_shown() -> None:
    status, output, messages = await shown(
        "import sys; print('an error\\n' * 50); sys.exit('the last')"
    )

    assert status == 1
    assert output.count("an error\n") == 50
    assert "the last" in output
    assert "✓" not in messages


@contextmanager
def a_run_of_tests() -> Generator[tuple[progress.Progress, int]]:
    """The started plugin, and the file descriptor from which its output is read."""
    reading, writing = os.pipe()
    plugin = progress.Progress(writing, patience=0.3)
    plugin.pytest_sessionstart()
    try:
        yield plugin, reading
    finally:
        plugin.pytest_unconfigure()
        os.close(reading)


async def test_a_silent_test_run_shows_the_current_test() -> None:
    with a_run_of_tests() as (plugin, reading):
        collecting = await asyncio.to_thread(os.read, reading, 1000)
        plugin.pytest_runtest_logstart("tests/test_it.py::test_this")
        testing = await asyncio.to_thread(os.read, reading, 1000)
        plugin.pytest_runtest_logfinish("tests/test_it.py::test_this")
        stopping = await asyncio.to_thread(os.read, reading, 1000)

    assert collecting == "  … collecting the tests (0 s)\n".encode()
    assert testing == "  … tests/test_it.py::test_this (0 s)\n".encode()
    assert stopping == "  … stopping what the tests used (0 s)\n".encode()
