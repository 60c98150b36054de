"""Runs Erlang code on RabbitMQ's node, in milliseconds.

`rabbitmqctl` does the same, but first starts an Erlang of its own, which takes seconds of CPU.
"""

import asyncio
import json
from asyncio.subprocess import PIPE, STDOUT
from functools import partial
from typing import Any

from cartwheel.local.supervisor import Supervisor

from .waiting import eventually


async def evaluate(supervisor: Supervisor, code: str) -> str:
    """Return the value of `code`, which ends with a full stop, as Erlang prints it.

    Source: https://www.erlang.org/doc/apps/erl_interface/erl_call_cmd
    """
    said = await eventually(partial(_called, supervisor, code))
    assert said.startswith("{ok, "), f"{code} failed: {said}"
    return said.removeprefix("{ok, ").removesuffix("}")


async def _called(supervisor: Supervisor, code: str) -> str:
    environment = supervisor.command("rabbitmq").environment
    calling = await asyncio.create_subprocess_exec(
        *("erl_call", "-address", f"127.0.0.1:{environment['RABBITMQ_DIST_PORT']}", "-e"),
        env=environment,
        stdin=PIPE,
        stdout=PIPE,
        stderr=STDOUT,
    )
    output, _ = await calling.communicate(f"{code}\n".encode())
    said = output.decode().strip()
    assert "failed to connect" not in said, said  # a test may have restarted it
    return said


async def read(supervisor: Supervisor, code: str) -> Any:
    """Return the value of `code`, an expression whose value RabbitMQ can write as JSON."""
    # As hexadecimal digits, because `erl_call` escapes nothing in what it prints.
    written = f"binary_to_list(binary:encode_hex(iolist_to_binary(rabbit_json:encode({code}))))."
    said = await evaluate(supervisor, written)
    return json.loads(bytes.fromhex(said.strip('"')))
