"""Whether this process lives, and whether it should be sent requests."""

from collections.abc import Callable
from typing import Literal

import msgspec
from litestar import Router, get
from litestar.di import NamedDependency, Provide
from litestar.params import SkipValidation

from cartwheel.gateway.identity import PUBLIC
from cartwheel.kernel.errors import Unavailable

Ready = Callable[[], bool]


class Health(msgspec.Struct, frozen=True):
    status: Literal["ok"] = "ok"


@get("/live", sync_to_thread=False)
def live() -> Health:
    """Tell that the process answers; if it does not, restart it."""
    return Health()


@get("/ready", sync_to_thread=False)
def ready(is_ready: NamedDependency[SkipValidation[Ready]]) -> Health:
    """Tell whether requests can be served now: 503 while stopping, or cut off from RabbitMQ."""
    if not is_ready():
        raise Unavailable("not ready")
    return Health()


def router(is_ready: Ready) -> Router:
    return Router(
        "/health",
        route_handlers=[live, ready],
        dependencies={"is_ready": Provide(lambda: is_ready, sync_to_thread=False)},
        opt=PUBLIC,
        tags=["health"],
    )
