"""The load generator: wrk with one thread and a Lua script from `bench/lua`.

wrk is written in C. It takes a small share of a core, which is measured, and leaves the rest to the
system. `all.lua` prints its result as a line of JSON.
"""

import asyncio
import re
import resource
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import msgspec

LUA = Path(__file__).parent / "lua"
_PATIENCE = 15
"""Seconds to wait for an answer. The system promises one within 10."""


class LoadFailed(Exception):
    """wrk failed. The message contains its output."""


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """The result of wrk. `refused` counts statuses of 400 and above.

    `statuses` is empty for scripts that only read, because checking each answer would slow wrk.
    """

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    refused: int
    statuses: dict[str, int]
    socket_errors: dict[str, int]
    generator_cpu: float = 0.0
    """CPU-seconds of wrk itself."""

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds

    def unexpected(self, *expected: str) -> dict[str, int]:
        """Return the unexpected answers and errors, with their numbers."""
        wrong = {name: count for name, count in self.statuses.items() if name not in expected}
        if not self.statuses and self.refused:
            wrong["400 or above"] = self.refused
        wrong |= {f"socket {name}": n for name, n in self.socket_errors.items() if n}
        return wrong


def require_wrk() -> None:
    if shutil.which("wrk") is None:
        sys.exit("The load comes from wrk, which is not installed: apt-get install wrk")


async def load(
    url: str,
    script: str,
    data: Mapping[str, Any],
    *,
    connections: int,
    seconds: float,
    seed: int = 1,
) -> Load:
    """Load `url` with `script`, which reads `data` as a Lua table.

    Raises:
        LoadFailed: wrk ended with an error.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(f"return {lua(data)}\n")
        file.flush()
        before = _cpu_of_children()
        process = await asyncio.create_subprocess_exec(
            *("wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s"),
            *("--timeout", f"{_PATIENCE}s", "--script", str(LUA / script)),
            *(url, "--", file.name, str(seed)),
            cwd=LUA.parents[1],
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            printed = (await process.communicate())[0].decode()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    if process.returncode:
        raise LoadFailed(printed)
    return msgspec.structs.replace(read(printed), generator_cpu=_cpu_of_children() - before)


def read(printed: str) -> Load:
    """Return the result in the line that `done` prints.

    Raises:
        LoadFailed: there is no such line.
    """
    found = re.search(r"^RESULT (.*)$", printed, re.MULTILINE)
    if found is None:
        raise LoadFailed(printed)
    return msgspec.json.decode(found[1], type=Load)


def lua(value: Any) -> str:
    """Return `value` (mappings, sequences, strings, numbers) as Lua source."""
    match value:
        case str():
            return msgspec.json.encode(value).decode()
        case int() | float():
            return str(value)
        case dict():
            fields = cast("dict[str, Any]", value)
            return "{" + ",".join(f"[{lua(k)}]={lua(v)}" for k, v in fields.items()) + "}"
        case _:
            return "{" + ",".join(lua(item) for item in value) + "}"


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
