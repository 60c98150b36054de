"""The command line without a running system."""

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import msgspec
import pytest
import typer.main
from typer.core import TyperGroup

from cartwheel.cli import app

PYTHON = sys.executable
CARTWHEEL = (PYTHON, "-m", "cartwheel.cli")


class Ran(msgspec.Struct, frozen=True):
    status: int
    output: str
    errors: str


class Terminal:
    """Runs commands that reach no system, apart from the variables that the test sets."""

    def __init__(self, folder: Path) -> None:
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        self.environment = {**kept, "CARTWHEEL_HOME": str(folder), "COLUMNS": "80"}

    def run(self, *arguments: str, program: tuple[str, ...] = CARTWHEEL, **given: str) -> Ran:
        """Run a command whose output is piped."""
        ran = subprocess.run(  # noqa: S603 our own command
            [*program, *arguments],
            env=self.environment | given,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return Ran(ran.returncode, ran.stdout, ran.stderr)

    def show(self, *arguments: str, **given: str) -> str:
        """Run a command on a terminal; return its output with control sequences."""
        ours, theirs = pty.openpty()
        with open(ours, "rb", buffering=0) as screen:
            with open(theirs, "wb", buffering=0) as end:
                subprocess.run(  # noqa: S603 our own command
                    [*CARTWHEEL, *arguments],
                    env=self.environment | {"TERM": "xterm-256color"} | given,
                    stdin=end,
                    stdout=end,
                    stderr=end,
                    timeout=60,
                )
            # The output is small enough to stay in the terminal's buffer until it is read.
            return screen.read(65_536).decode()

    def start(self, *arguments: str, **given: str) -> "subprocess.Popen[str]":
        """Start a command in its own process group, as a shell does, to be interrupted later.

        Its questions are not answered.
        """
        return subprocess.Popen(  # noqa: S603 our own command
            [*CARTWHEEL, *arguments],
            env=self.environment | given,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        )


@pytest.fixture
def terminal(tmp_path: Path) -> Generator[Terminal]:
    # If a shell script runs the tests in the background, they and their children ignore SIGINT.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield Terminal(tmp_path)
    signal.signal(signal.SIGINT, before)


def all_commands() -> list[str]:
    """Return each command and group, as typed after `cartwheel`. The empty one comes first."""

    def under(group: TyperGroup, typed: str) -> Iterator[str]:
        yield typed
        for name, command in group.commands.items():
            full = f"{typed} {name}".strip()
            if isinstance(command, TyperGroup):
                yield from under(command, full)
            else:
                yield full

    root = typer.main.get_command(app)
    assert isinstance(root, TyperGroup)
    return list(under(root, ""))


def ctrl_c(process: "subprocess.Popen[str]") -> Ran:
    os.killpg(process.pid, signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    return Ran(process.returncode, output, errors)
