"""Access with `rabbitmqctl` and `rabbitmq-queues`, if they are on PATH and have the cookie.

The tools find node and cookie as usual: RABBITMQ_NODENAME, and `~/.erlang.cookie` of the user who
runs them (https://www.rabbitmq.com/docs/cli#erlang-cookie).
"""

import asyncio
import shutil
from collections.abc import Collection
from typing import Any

import msgspec

from cartwheel.local.command import kill_session
from cartwheel.operations.quorum.access import CannotDo, CannotLook
from cartwheel.operations.quorum.cluster import Cluster, Listed, quorum_queues, unlisted
from cartwheel.operations.quorum.steps import Command, Step, looking

LIMIT_SECONDS = 300.0
"""Seconds for one command. `grow` takes long: it adds members queue by queue."""


_JSON = ("--formatter", "json")


class _Status(msgspec.Struct):
    running_nodes: list[str]
    disk_nodes: list[str]
    ram_nodes: list[str] = []
    partitions: Any = None


class _Failed(Exception):
    """A command failed. The message says why."""


class CommandLine:
    """Reads through the tools' default node; changes go through a node of the cluster."""

    def __init__(self, vhost: str, ours: Collection[str]) -> None:
        self._vhost = vhost
        self._ours = ours

    async def look(self) -> Cluster:
        see_nodes, see_queues = looking(self._vhost)
        try:
            status = msgspec.json.decode(await _run((*see_nodes, *_JSON)), type=_Status)
            listed = msgspec.json.decode(await _run((*see_queues, *_JSON)), type=list[Listed])
        except _Failed as error:
            raise CannotLook(str(error)) from None
        except msgspec.DecodeError:
            raise CannotLook("the output of rabbitmqctl cannot be read") from None
        nodes = (*status.disk_nodes, *status.ram_nodes)
        return Cluster(
            nodes={name: name in status.running_nodes for name in nodes},
            queues=quorum_queues(listed, self._ours),
            unlisted=unlisted(listed, self._ours),
            partitioned=bool(status.partitions),
        )

    async def do(self, step: Step, *, at: str) -> None:
        long = ("--longnames",) if "." in at else ()
        try:
            for command in step.commands(self._vhost):
                await _run(command, "--node", at, *long)
        except _Failed as error:
            raise CannotDo(str(error)) from None


async def _run(command: Command, *options: str) -> bytes:
    """Run `command` of RabbitMQ's tools; return its output.

    Raises:
        _Failed: the tool is missing, or the command failed.
    """
    name, *arguments = command
    program = shutil.which(name)
    if program is None:
        raise _Failed(f"{name} is not on PATH")
    process = await asyncio.create_subprocess_exec(
        *(program, "--quiet", *options, *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(LIMIT_SECONDS):
            output, errors = await process.communicate()
    except TimeoutError:
        raise _Failed(f"{name} did not end within {LIMIT_SECONDS:g} s") from None
    finally:
        kill_session(process)
        await process.wait()
    if process.returncode:
        raise _Failed(f"{name} says {_first_line(errors or output)!r}")
    return output


def _first_line(output: bytes) -> str:
    lines = (line.strip() for line in output.decode(errors="replace").splitlines())
    return next((line for line in lines if line), "nothing")[:200]
