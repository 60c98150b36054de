"""docs/tutorial.md is followed to the letter: its commands run, and print what it shows."""

import os
import re
import shutil
import sys
from asyncio.subprocess import PIPE, STDOUT, create_subprocess_exec
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from cartwheel.local import packages
from cartwheel.local.console import QUIET
from cartwheel.local.up import System

PAGE = Path(__file__).parents[2] / "docs" / "tutorial.md"
NEEDED = ("curl", "jq")

_STEP = re.compile(
    r"^```sh\n(?P<does>.*?)^```\n\n```(?:json|text)\n(?P<shows>.*?)^```$", re.M | re.S
)
_END = "-- the end of a step --"


class Step(NamedTuple):
    """Commands of the page, and what it says that they print; `…` is anything."""

    commands: str
    shown: str

    def is_shown(self, printed: str) -> bool:
        pattern = re.escape(self.shown.strip()).replace("…", r'[^"\n]+')
        lines = (line.rstrip() for line in printed.strip().splitlines())
        return re.fullmatch(pattern, "\n".join(lines)) is not None


def steps(page: str) -> Iterator[Step]:
    for found in _STEP.finditer(page):
        yield Step(found["does"], found["shows"])


@pytest.fixture(scope="module")
def _tools() -> None:
    if lacking := {name: "for the tutorial" for name in NEEDED if shutil.which(name) is None}:
        packages.install(lacking, QUIET)


@pytest.fixture
def folder(system: System, tmp_path: Path) -> Path:
    """Return a folder with what `make up` leaves in a user's."""
    (tmp_path / ".cartwheel").symlink_to(system.supervisor.home)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    return tmp_path


@pytest.mark.usefixtures("_tools")
async def test_the_commands_of_the_page_print_what_it_shows(folder: Path) -> None:
    page = list(steps(PAGE.read_text()))
    assert len(page) == PAGE.read_text().count("```sh\n")
    script = "".join(f"{step.commands}\necho {_END!r}\n" for step in page)

    process = await create_subprocess_exec(
        *("timeout", "120", "bash", "-eu", "-o", "pipefail", "-c", script),
        cwd=folder,
        env={name: os.environ[name] for name in ("PATH", "HOME")},
        stdout=PIPE,
        stderr=STDOUT,
    )
    output, _ = await process.communicate()

    *printed, rest = output.decode().split(f"{_END}\n")
    for step, output_of_step in zip(page, printed, strict=False):
        assert step.is_shown(output_of_step), f"{step.commands}\nprints\n{output_of_step}"
    assert (process.returncode, len(printed), rest) == (0, len(page), "")
