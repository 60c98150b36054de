"""Routes that show how the gateway treats any route, and do nothing else."""

import asyncio
from enum import StrEnum
from typing import Annotated

import msgspec
from litestar import Router, get, post
from litestar.params import FromPath, JSONBody, QueryParameter

from cartwheel.gateway.idempotency import IdempotencyKey
from cartwheel.gateway.identity import PUBLIC, SignedIn, admin
from cartwheel.kernel import errors
from cartwheel.kernel.errors import FieldError, Refusal

SECRET = "4242424242424242"
SLOW: list[float] = []
"""What the slow route was asked for, noted as it begins."""
Count = Annotated[int, QueryParameter(ge=1, le=100)]


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


OfColour = Annotated[Colour | None, QueryParameter()]


class Item(msgspec.Struct, forbid_unknown_fields=True):
    quantity: Annotated[int, msgspec.Meta(ge=1, le=1000)]


class Wide(msgspec.Struct, tag="wide", tag_field="kind", forbid_unknown_fields=True):
    width: int


class High(msgspec.Struct, tag="high", tag_field="kind", forbid_unknown_fields=True):
    height: int


class Items(msgspec.Struct, forbid_unknown_fields=True):
    items: Annotated[list[Item], msgspec.Meta(min_length=1)]
    note: str = ""
    colour: Colour | None = None
    box: Wide | High | None = None


class Whim(msgspec.Struct):
    user_id: str
    admin: bool


class OutOfStock(errors.Conflict):
    code = "test_out_of_stock"


RAISED: dict[str, Exception] = {
    "invalid": errors.Invalid("no", errors=[FieldError("items[0]", "unknown product")]),
    "unauthenticated": errors.Unauthenticated("no"),
    "forbidden": errors.Forbidden("no"),
    "not_found": errors.NotFound("no"),
    "conflict": OutOfStock("Only 2 are left."),
    "stale": errors.Stale("no"),
    "throttled": errors.Throttled("no"),
    "refused": Refusal("no"),
    "unavailable": errors.Unavailable(f"mongodb://{SECRET}"),
    "overloaded": errors.Overloaded(SECRET),
    "outcome_unknown": errors.OutcomeUnknown(SECRET),
    "timed_out": errors.TimedOut(SECRET),
    "crash": RuntimeError(SECRET),
    "group": ExceptionGroup(SECRET, [ValueError(SECRET)]),
}


@post("/items", opt=PUBLIC)
async def take_items(data: JSONBody[Items]) -> int:
    return sum(item.quantity for item in data.items)


@post("/maybe", opt=PUBLIC)
async def take_maybe(data: JSONBody[Items | None] = None) -> bool:
    return data is not None


@get("/list", opt=PUBLIC)
async def take_query(limit: Count = 20, colour: OfColour = None, key: IdempotencyKey = None) -> int:
    return limit


@get("/raise/{name:str}", opt=PUBLIC)
async def fail(name: FromPath[str]) -> None:
    raise RAISED.get(name) or errors.NotFound("no")


@get("/slow/{seconds:float}", opt=PUBLIC)
async def slow(seconds: FromPath[float]) -> bool:
    SLOW.append(seconds)
    await asyncio.sleep(seconds)
    return True


@get("/big", opt=PUBLIC)
async def big() -> str:
    return "x" * 20_000_000


@get("/whoami")
async def whoami(identity: SignedIn) -> Whim:
    return Whim(identity.user_id, identity.admin)


@get("/admins-only", guards=[admin])
async def admins_only() -> bool:
    return True


def router() -> Router:
    """A new one each time: Litestar ties a router to its app."""
    return Router(
        "/probe",
        route_handlers=[
            take_items,
            take_maybe,
            take_query,
            fail,
            slow,
            big,
            whoami,
            admins_only,
        ],
    )
