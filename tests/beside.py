"""Another instance beside the running system, on the same servers.

async with beside(system, "tls") as shared, running(home, given=shared.given) as other: ...

It needs no RabbitMQ and no AWS emulator of its own, which take seconds of CPU to start.
"""

import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import NamedTuple

import pytest

from cartwheel.local.dependencies import AWS
from cartwheel.local.emulated_aws import CREDENTIALS
from cartwheel.local.supervisor import Supervisor
from cartwheel.local.up import System

from .erlang import evaluate

PASSWORD = "Secret-1"
"""That of the users of virtual hosts."""

_WHO = '<<"tests">>'
"""Who does it, for RabbitMQ's log."""


class VirtualHost:
    """A virtual host on a system's RabbitMQ, and a user of the same name who may do all in it."""

    def __init__(self, supervisor: Supervisor, name: str) -> None:
        self.name = name
        self._supervisor = supervisor

    async def permit(self, configure: str) -> None:
        """Let its user create and delete queues and exchanges that match `configure`."""
        texts = (self.name, self.name, configure, ".*", ".*")
        arguments = ", ".join([*map(_binary, texts), _WHO])
        await self._do(f"rabbit_auth_backend_internal:set_permissions({arguments})")

    async def make(self) -> None:
        name = _binary(self.name)
        await self._do(
            f"rabbit_vhost:add({name}, {_WHO})",
            f"rabbit_auth_backend_internal:add_user({name}, {_binary(PASSWORD)}, {_WHO})",
        )
        await self.permit(".*")

    async def remove(self) -> None:
        name = _binary(self.name)
        await self._do(
            f"rabbit_vhost:delete({name}, {_WHO})",
            f"rabbit_auth_backend_internal:delete_user({name}, {_WHO})",
        )

    async def _do(self, *calls: str) -> None:
        await evaluate(self._supervisor, f"{', '.join(f'ok = {each}' for each in calls)}.")


class Shared(NamedTuple):
    """What an instance shares: `given` is the environment that names it."""

    host: VirtualHost
    given: dict[str, str]


@asynccontextmanager
async def beside(system: System, name: str) -> AsyncGenerator[Shared]:
    """Yield a virtual host whose name begins with `name`, and the emulator's variables."""
    host = VirtualHost(system.supervisor, f"{name}-{secrets.token_hex(3)}")
    node = system.environment["RABBITMQ_URL"].rstrip("/").rpartition("@")[2]
    url = f"amqp://{host.name}:{PASSWORD}@{node}/{host.name}"
    aws = {key: system.environment[key] for key in AWS if key in system.environment}
    await host.make()
    try:
        with pytest.MonkeyPatch.context() as patch:
            for variable, value in CREDENTIALS.items():
                patch.setenv(variable, value)
            yield Shared(host, {**aws, "RABBITMQ_URL": url})
    finally:
        await host.remove()


def _binary(text: str) -> str:
    return f'<<"{text}">>'
