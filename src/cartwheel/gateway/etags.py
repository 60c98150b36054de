"""Versions in headers: `ETag` names the one that is answered, `If-None-Match` the one a client has.

RFC 9110, §8.8.3 and §13.1.2. An order's version counts every change of it.
"""

from typing import Annotated, Any, TypeVar, cast

import msgspec
from litestar import Response
from litestar.params import HeaderParameter

from cartwheel.gateway.described import Header

Answer = TypeVar("Answer")

IfNoneMatch = Annotated[
    str | None,
    HeaderParameter(
        name="If-None-Match",
        max_length=1_000,
        description="The `ETag` of the version that you have: 304 if it is still that one",
    ),
]
ETAG = {"ETag": Header(description="The version that this is", example='"1"')}


class _Versioned(msgspec.Struct):
    version: int


_decoder = msgspec.json.Decoder(_Versioned)


def etag(version: int) -> str:
    return f'"{version}"'


def version_of(response: Response[Any]) -> int:
    """Return the version in what a service has answered. Nothing else of it is decoded."""
    return _decoder.decode(response.content).version


def tagged(response: Response[Answer], version: int, if_none_match: str | None) -> Response[Answer]:
    """Return `response` with its ETag; 304 without a body if the client has that version."""
    headers = {"ETag": etag(version)}
    if if_none_match is not None and _names(if_none_match, etag(version)):
        return cast("Response[Answer]", Response(None, status_code=304, headers=headers))
    response.headers |= headers
    return response


def _names(if_none_match: str, current: str) -> bool:
    # Weak comparison: a proxy that compresses may have made the tag a weak one.
    given = [each.strip().removeprefix("W/") for each in if_none_match.split(",")]
    return current in given or given == ["*"]
