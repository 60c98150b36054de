"""The bus as route handlers see it: they ask services, and know nothing else of them."""

from typing import Protocol, TypeVar

from litestar.di import NamedDependency
from litestar.params import SkipValidation

from cartwheel.kernel.messages import Request

Answer = TypeVar("Answer")


class Asks(Protocol):
    async def request(self, request: Request[Answer]) -> Answer:
        """Raises a `Refusal` of the request's contract, or an `Outage`."""
        ...


Bus = NamedDependency[SkipValidation[Asks]]
"""The type of the `bus` argument."""
