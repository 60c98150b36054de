"""`cartwheel`, typed in another terminal."""

import asyncio
import os
import sys

import msgspec

from cartwheel.local.up import System


class Ran(msgspec.Struct, frozen=True):
    status: int
    output: str
    errors: str


async def cartwheel(system: System, *arguments: str) -> Ran:
    """Run a command the way a person does: all it knows of the system is its folder."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cartwheel.cli", *arguments),
        env={**os.environ, "CARTWHEEL_HOME": str(system.supervisor.home), "COLUMNS": "200"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    return Ran(process.returncode or 0, output.decode(), errors.decode())
