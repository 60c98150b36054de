"""The gateway's wiring: every route, and the dependencies of the handlers."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import aiohttp
from litestar import Litestar, Router
from litestar.datastructures import State
from litestar.di import Provide
from litestar.handlers import BaseRouteHandler
from litestar.types import Scope

from cartwheel.gateway import cognito, openapi
from cartwheel.gateway.bodies import MAX_BODY, JsonRequest
from cartwheel.gateway.bus import Bus, RawBus, services_asked
from cartwheel.gateway.captures import Captures
from cartwheel.gateway.clients import Clients
from cartwheel.gateway.cognito import Cognito
from cartwheel.gateway.directory import Directory
from cartwheel.gateway.every_route import EveryRoute
from cartwheel.gateway.identity import Connection as ClientConnection
from cartwheel.gateway.identity import Identity, Verifier
from cartwheel.gateway.jwks import KeySet
from cartwheel.gateway.problems import SAFE_HEADERS, respond
from cartwheel.gateway.rate_limits import (
    STORE_SECONDS,
    UNLIMITED,
    AttemptsOf,
    RateLimits,
)
from cartwheel.gateway.routes import (
    addresses,
    auth,
    docs,
    health,
    orders,
    payments,
    products,
    refunds,
    returns,
    shipments,
    stock,
    users,
    webhooks,
)
from cartwheel.gateway.server import serve
from cartwheel.gateway.settings import NAME, Settings
from cartwheel.gateway.windows import SharedWindows
from cartwheel.kernel import log, mongodb
from cartwheel.kernel.lowlevel import Connection, RpcClient, Stop, notify, run, unless_stopped

ROUTES: tuple[Router, ...] = (
    auth.router,
    products.router,
    stock.router,
    orders.router,
    shipments.router,
    shipments.call_offs,
    returns.router,
    payments.router,
    refunds.router,
    addresses.router,
    users.router,
    webhooks.router,
)
"""All below /api/v1."""


def create_app(
    *,
    verifier: Verifier,
    users: Cognito,
    directory: Directory,
    limits: RateLimits,
    bus: RawBus,
    webhook_secret: str,
    look: health.Look,
    routes: Sequence[Router] = ROUTES,
) -> Litestar:
    """Return the whole API. A route needs a token unless it says `opt=PUBLIC`."""

    # Litestar resolves independent dependencies in a task group, which costs a request at least
    # 100 µs. So each of these depends on the one before it.
    def provide_identity(scope: Scope, bus: Bus) -> Identity:
        return scope["user"]

    def provide_visitor(scope: Scope, bus: Bus) -> Identity | None:
        return scope["user"]

    def provide_secret(bus: Bus) -> str:
        return webhook_secret

    def provide_attempts(scope: Scope, bus: Bus) -> AttemptsOf:
        return AttemptsOf(limits, scope)

    async def guard(connection: ClientConnection, handler: BaseRouteHandler) -> None:
        try:
            await verifier.guard(connection, handler)
        finally:  # a request with a token that proves nothing counts for its address
            if not handler.opt.get(UNLIMITED):
                await limits.count(connection.scope)

    return Litestar(
        route_handlers=[
            Router("/api/v1", route_handlers=routes),
            docs.router,
            health.router(look),
        ],
        dependencies={
            name: Provide(provider, sync_to_thread=False)
            for name, provider in {
                "bus": lambda: bus,
                "users": lambda: users,
                "identity": provide_identity,
                "visitor": provide_visitor,
                "directory": lambda: directory,
                "webhook_secret": provide_secret,
                "attempts": provide_attempts,
            }.items()
        },
        guards=[guard],
        state=State({"captures": Captures(), "visitors": verifier.visitors}, deep_copy=False),
        plugins=[EveryRoute()],
        response_headers=SAFE_HEADERS,
        request_class=JsonRequest,
        request_max_body_size=MAX_BODY,
        exception_handlers={Exception: respond},
        openapi_config=openapi.config(),
        logging_config=None,
        debug=False,
    )


@asynccontextmanager
async def assembled(given: Settings, *, bus: RawBus, look: health.Look) -> AsyncGenerator[Litestar]:
    """Yield the app. Opens what it needs besides the bus, and closes it at the end."""
    async with (
        aiohttp.ClientSession() as http,
        cognito.connect(
            region=given.region,
            client_id=given.cognito_client_id,
            client_secret=given.cognito_client_secret,
            mark_key=given.emulated_cognito_key,
        ) as users,
        _rate_limits(given) as limits,
    ):
        verifier = Verifier(
            KeySet(given.jwks_url, http),
            users,
            issuer=given.issuer,
            client_id=given.cognito_client_id,
            visitors=given.catalogue == "public",
        )
        yield create_app(
            verifier=verifier,
            users=users,
            directory=Directory(users, given.cognito_user_pool_id),
            limits=limits,
            bus=bus,
            webhook_secret=given.simulator_webhook_secret,
            look=look,
        )


@asynccontextmanager
async def _rate_limits(given: Settings) -> AsyncGenerator[RateLimits]:
    if given.rate_limits == "off":
        yield RateLimits(None)
        return
    address = given.databases.by_service[NAME]
    async with mongodb.connect(
        address.uri,
        variable=address.variable,
        process=NAME,
        prefix=given.mongodb_database_prefix,
        timeout=STORE_SECONDS,
    ) as client:
        limits = RateLimits(SharedWindows(mongodb.database(client, address.name)))
        yield limits
        await limits.settled()


async def _serve(given: Settings, stop: Stop) -> None:
    connection = Connection(given.rabbitmq_url, process=NAME, client=given.amqp_client)
    bus = RpcClient()
    bus.watch(services_asked())
    connection.add(bus)

    def look() -> health.Readiness:
        return health.judge(
            stopping=stop.is_set(), connected=connection.is_up, services=bus.answered_ago()
        )

    try:
        if not await unless_stopped(connection.start(), stop):
            return
        async with assembled(given, bus=bus, look=look) as app:
            await serve(
                app,
                given.host,
                given.port,
                started=_started,
                stop=stop,
                drain_seconds=given.drain_seconds,
                share_port=given.share_port,
                clients=Clients(
                    most=given.max_connections_per_address, trusted=given.trusted_proxies
                ),
            )
    finally:
        # Last, because the requests in progress get their answers over it.
        await connection.stop()


def _started() -> None:
    notify("READY=1")
    log.info("ready")


def main() -> None:
    run(NAME, Settings, _serve)


if __name__ == "__main__":
    main()
