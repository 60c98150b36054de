"""The gateway's wiring: every route, and what the handlers are given."""

import asyncio
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Protocol

import aiohttp
import uvloop
from litestar import Litestar, Router
from litestar.di import NamedDependency, Provide
from litestar.params import SkipValidation

from cartwheel.gateway import cognito, openapi
from cartwheel.gateway.bodies import MAX_BODY, JsonRequest
from cartwheel.gateway.cognito import Cognito
from cartwheel.gateway.identity import Verifier, provide_identity
from cartwheel.gateway.jwks import KeySet
from cartwheel.gateway.problems import respond
from cartwheel.gateway.routes import auth, docs, health
from cartwheel.gateway.server import serve
from cartwheel.gateway.settings import GatewaySettings
from cartwheel.kernel import settings, telemetry
from cartwheel.kernel.messages import Answer, Request


class Asks(Protocol):
    """The bus as handlers see it."""

    async def request(self, request: Request[Answer]) -> Answer:
        """Raises a `Refusal` of the request's contract, or an `Outage`."""
        ...


Bus = NamedDependency[SkipValidation[Asks]]
"""The type of the `bus` argument."""

ROUTES = Router("/api/v1", route_handlers=[auth.router])


def create_app(
    *, verifier: Verifier, users: Cognito, bus: Asks, is_ready: health.Ready
) -> Litestar:
    """Return the whole API. Nothing is reachable without a token unless it says `opt=PUBLIC`."""
    return Litestar(
        route_handlers=[ROUTES, docs.router, health.router(is_ready)],
        dependencies={
            "bus": Provide(lambda: bus, sync_to_thread=False),
            "identity": Provide(provide_identity, sync_to_thread=False),
            "users": Provide(lambda: users, sync_to_thread=False),
        },
        guards=[verifier.guard],
        request_class=JsonRequest,
        request_max_body_size=MAX_BODY,
        exception_handlers={Exception: respond},
        openapi_config=openapi.config(),
        logging_config=None,
        debug=False,
    )


@asynccontextmanager
async def assembled(
    given: GatewaySettings, *, bus: Asks, is_ready: health.Ready
) -> AsyncGenerator[Litestar]:
    """Open what the app needs besides the bus, and close it at the end."""
    async with (
        aiohttp.ClientSession() as http,
        cognito.connect(region=given.region, client_id=given.cognito_client_id) as users,
    ):
        verifier = Verifier(
            KeySet(given.jwks_url, http),
            users,
            issuer=given.issuer,
            client_id=given.cognito_client_id,
        )
        yield create_app(verifier=verifier, users=users, bus=bus, is_ready=is_ready)


class _NoBus:
    async def request(self, request: Request[Answer]) -> Answer:
        raise NotImplementedError


async def _run(given: GatewaySettings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with assembled(given, bus=_NoBus(), is_ready=lambda: not stop.is_set()) as app:
        await serve(
            app,
            given.host,
            given.port,
            started=lambda: telemetry.log.info("ready", host=given.host, port=given.port),
            stop=stop,
        )


def main() -> None:
    telemetry.configure("gateway")
    uvloop.run(_run(settings.read(GatewaySettings)))


if __name__ == "__main__":
    main()
