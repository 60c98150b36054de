"""Health probes: whether a service is alive and whether it is ready, on a port of their own.

    HEALTH_PORT=9100
    GET /health/live     200 as long as the process responds
    GET /health/ready    200, or 503 with what is down: {"status":"unready","down":["mongodb"], …}

Without the setting nothing listens, and the web server is not loaded.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Literal

import msgspec
import pymongo

from cartwheel.kernel._core.telemetry import log
from cartwheel.kernel._process.listening import listen
from cartwheel.kernel._process.process import Core
from cartwheel.kernel.settings import ServiceSettings

PING_SECONDS = 1.0
"""Seconds that the database gets to answer a ping, and for which the answer is cached."""
BACKLOG = 64
"""Connections that the operating system queues."""


class Health(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer to a probe. `down` names the required dependencies that are down."""

    status: Literal["ok", "unready"]
    stopping: bool = False
    down: tuple[str, ...] = ()


class Pulse:
    """Checks whether a dependency answers, at most once in PING_SECONDS for all probes."""

    def __init__(self, ping: Callable[[], Awaitable[object]]) -> None:
        self._ping = ping
        self._asked_at = 0.0
        self._asking: asyncio.Task[bool] | None = None

    async def beats(self) -> bool:
        """Return whether it answers now, or did in the last PING_SECONDS."""
        now = asyncio.get_running_loop().time()
        if self._asking is None or (self._asking.done() and now - self._asked_at >= PING_SECONDS):
            self._asked_at = now
            self._asking = asyncio.create_task(self._ask())
        # Shielded: if one probe is cancelled, the others still need the answer.
        return await asyncio.shield(self._asking)

    async def _ask(self) -> bool:
        try:
            await self._ping()
        except Exception as error:  # whatever it is, the dependency cannot be used now
            log.debug("probe not answered", detail=repr(error))
            return False
        return True

    async def stop(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait({self._asking})


@contextlib.asynccontextmanager
async def answering(settings: ServiceSettings, core: Core) -> AsyncGenerator[None]:
    """Answer health probes while the body runs, if HEALTH_PORT is set.

    Raises:
        CannotListen: the port is taken or not permitted, or the host is not this machine's.
    """
    if settings.health_port is None:
        yield
        return
    # Imported here, because it needs a web server, which a service does not use otherwise.
    from cartwheel.kernel._process import health_port

    async def ping() -> None:
        with pymongo.timeout(PING_SECONDS):
            await core.client.admin.command("ping")

    async def live() -> health_port.Answered:
        return 200, msgspec.json.encode(Health("ok"))

    async def ready() -> health_port.Answered:
        health = _judge(
            stopping=core.stop.is_set(),
            answers={"rabbitmq": core.connection.is_up, "mongodb": await pulse.beats()},
        )
        return (200 if health.status == "ok" else 503), msgspec.json.encode(health)

    pulse = Pulse(ping)
    listener = listen(
        settings.health_host,
        settings.health_port,
        variable="HEALTH_PORT",
        host_variable="HEALTH_HOST",
        backlog=BACKLOG,
    )
    log.info("health port", host=settings.health_host, port=settings.health_port)
    try:
        async with health_port.serving(listener, {"/health/live": live, "/health/ready": ready}):
            yield
    finally:
        await pulse.stop()


def _judge(*, stopping: bool, answers: dict[str, bool]) -> Health:
    down = tuple(name for name, answered in answers.items() if not answered)
    return Health("unready" if stopping or down else "ok", stopping, down)
