"""The bus as route handlers see it: they only send requests to services."""

from typing import Any, Protocol, cast

from litestar import Response
from litestar.di import NamedDependency
from litestar.params import SkipValidation
from msgspec import Raw

from cartwheel.kernel import Answer, Request
from cartwheel.kernel import Bus as TypedBus


class RawBus(TypedBus, Protocol):
    async def request_raw(self, request: Request[Any]) -> Raw:
        """Return the answer as the JSON received. Raises what `request` raises."""
        ...


Bus = NamedDependency[SkipValidation[RawBus]]
"""The type of the `bus` argument."""


def services_asked() -> list[str]:
    """Return the services that the gateway calls: those whose contracts the routes import."""
    kinds = cast("list[type[Request[Any]]]", Request.__subclasses__())
    return sorted({kind.service for kind in kinds})


async def handed_on(request: Request[Answer], bus: RawBus) -> Response[Answer]:
    """Return the service's answer without decoding it: it is JSON already."""
    answer: Any = bytes(await bus.request_raw(request))
    return Response(answer, media_type="application/json")
