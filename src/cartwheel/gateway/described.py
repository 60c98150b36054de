"""What a route says of itself in the API's description, beside what its signature tells.

    @post("/", opt=described(asks=contract.PlaceOrder, body=examples.NEW_ORDER, ...))

The description lists what an operation may refuse. That follows from the route (its body, its
guards), from the requests that it sends to services, each of which names its refusals in its
contract, and from what the route itself refuses. Only requests and own refusals are said here.
"""

from typing import Any

import msgspec
from litestar.handlers import BaseRouteHandler

from cartwheel.kernel import Request
from cartwheel.kernel.errors import Outage, Refusal

_DESCRIBED = "described"


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """A header of an answer; `always` if each success has it."""

    description: str
    example: str
    always: bool = True


class Described(msgspec.Struct, frozen=True, kw_only=True):
    """See `described`."""

    asks: tuple[type[Request[Any]], ...] = ()
    refuses: tuple[type[Refusal | Outage], ...] = ()
    takes: tuple[type[Refusal], ...] = ()
    body: object = None
    body_type: Any = None
    answer: object = None
    returns: str = "Done."
    headers: dict[str, Header] = {}
    signature: str | None = None
    more: dict[int | str, dict[str, object]] = {}
    unchanged: bool = False


def described(
    *,
    asks: type[Request[Any]] | tuple[type[Request[Any]], ...] = (),
    refuses: tuple[type[Refusal | Outage], ...] = (),
    takes: tuple[type[Refusal], ...] = (),
    body: object = None,
    body_type: Any = None,
    answer: object = None,
    returns: str = "Done.",
    headers: dict[str, Header] | None = None,
    signature: str | None = None,
    more: dict[int | str, dict[str, object]] | None = None,
    unchanged: bool = False,
) -> dict[str, Any]:
    """Return a route's `opt`.

    Args:
        asks: the request that the route sends to a service, or those of which it sends one.
        refuses: what the route itself may refuse, beyond what holds for every route.
        takes: refusals of the service that the route answers with success.
        body: an example of the request's body, as the type that the route takes.
        body_type: the body's type, where the handler takes the bytes.
        answer: an example of what the route returns.
        returns: what is answered, in a sentence.
        headers: of a success, by name.
        signature: the header that has the body's signature.
        more: further members of a problem document, by status or by code.
        unchanged: whether it answers 304 to who has the version that there is.
    """
    return {
        _DESCRIBED: Described(
            asks=asks if isinstance(asks, tuple) else (asks,),
            refuses=refuses,
            takes=takes,
            body=body,
            body_type=body_type,
            answer=answer,
            returns=returns,
            headers=headers or {},
            signature=signature,
            more=more or {},
            unchanged=unchanged,
        )
    }


def description_of(handler: BaseRouteHandler) -> Described:
    """Return what the route of `handler` says of itself; nothing special if it says nothing."""
    return handler.opt.get(_DESCRIBED, Described())
