"""The `cartwheel` command in another terminal."""

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from cartwheel.local.up import System


class Ran(msgspec.Struct, frozen=True):
    status: int
    output: str
    errors: str


async def cartwheel(system: System, *arguments: str) -> Ran:
    """Run a command as a person does: it finds the system only through its folder."""
    return await cartwheel_in(system.supervisor.home, *arguments)


async def cartwheel_in(
    home: Path, *arguments: str, environment: Mapping[str, str] | None = None, answer: str = ""
) -> Ran:
    """Run a command for the instance in `home`, and answer its questions."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cartwheel.cli", *arguments),
        env={**os.environ, "CARTWHEEL_HOME": str(home), "COLUMNS": "200", **(environment or {})},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate(answer.encode())
    return Ran(process.returncode or 0, output.decode(), errors.decode())
