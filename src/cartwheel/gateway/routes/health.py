"""Whether this process lives, and whether it should be sent requests."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import msgspec
from litestar import Response, Router, get
from litestar.di import NamedDependency, Provide
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import SkipValidation

from cartwheel.gateway.described import described
from cartwheel.gateway.identity import PUBLIC
from cartwheel.gateway.problems import MEDIA_TYPE, Problem, problem
from cartwheel.gateway.rate_limits import UNLIMITED
from cartwheel.kernel.errors import Unavailable

SILENT_SECONDS = 5.0
"""Seconds without an answer from any service, after which requests are better sent elsewhere."""

Ages = Annotated[
    dict[str, float | None],
    msgspec.Meta(
        description="The services that the gateway asks, and the seconds since each has last "
        "answered; null if it has not yet",
        examples=[{"orders": 0.4, "payments": None}],
    ),
]
_AGES = {"notifications": 1.2, "orders": 0.4, "payments": 0.4, "products": None}


class Health(msgspec.Struct, frozen=True):
    status: Literal["ok"] = "ok"


class Ready(Health, frozen=True, kw_only=True):
    services: Ages


class Unready(Problem, frozen=True, kw_only=True):
    services: Ages


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """`unready` says why no requests should be sent here, in a sentence for operators."""

    unready: str | None
    services: Ages


Look = Callable[[], Readiness]


def judge(*, stopping: bool, connected: bool, services: Mapping[str, float | None]) -> Readiness:
    """Return whether a gateway is ready that last heard from `services` so many seconds ago."""
    ages = {name: None if age is None else round(age, 1) for name, age in services.items()}
    unready = None
    if stopping:
        unready = "The gateway is stopping."
    elif not connected:
        unready = "The connection to RabbitMQ is down."
    elif all(age is None or age > SILENT_SECONDS for age in services.values()):
        unready = f"No service has answered for {SILENT_SECONDS:g} s."
    return Readiness(unready=unready, services=ages)


@get(
    "/live",
    sync_to_thread=False,
    opt=described(answer=Health(), returns="The process is alive."),
)
def live() -> Health:
    """Check whether the process is alive.

    Restart it if there is no answer.
    """
    return Health()


@get(
    "/ready",
    sync_to_thread=False,
    responses={
        503: ResponseSpec(
            Unready,
            description="Send requests elsewhere; `detail` says why.",
            media_type=MEDIA_TYPE,
            generate_examples=False,
        )
    },
    opt=described(
        refuses=(Unavailable,),
        answer=Ready(services=_AGES),
        returns="Send requests here.",
        more={503: {"services": _AGES}},
    ),
)
def ready(look: NamedDependency[SkipValidation[Look]]) -> Response[Ready]:
    """Check whether the gateway is ready for requests.

    503 while the gateway is stopping, while its connection to RabbitMQ is down, and when no service
    has answered for 5 s. One service that is down does not make the gateway unready: what needs
    only the others is served.
    """
    now = look()
    if now.unready is None:
        return Response(Ready(services=now.services))
    body, headers = problem(503, Unavailable.code, now.unready, kind=Unready, services=now.services)
    refusal: Any = body
    return Response(refusal, status_code=503, headers=headers, media_type=MEDIA_TYPE)


def router(look: Look) -> Router:
    return Router(
        "/health",
        route_handlers=[live, ready],
        dependencies={"look": Provide(lambda: look, sync_to_thread=False)},
        opt={**PUBLIC, UNLIMITED: True},
        tags=["health"],
    )
