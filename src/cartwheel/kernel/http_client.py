"""Asking a part of the system over HTTP: whatever is not an answer is an outage."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import NamedTuple

import aiohttp

from cartwheel.kernel.errors import OutcomeUnknown, TimedOut, Unavailable


class UnexpectedAnswer(Exception):
    """A part said what it should never say; names status and code."""


@asynccontextmanager
async def connect(
    url: str, *, api_key: str, answer_within: float
) -> AsyncGenerator[aiohttp.ClientSession]:
    """Keep connections to the JSON API at `url`, for example `http://127.0.0.1:8900`.

    `answer_within` are the seconds for one request, the connecting included.
    """
    async with aiohttp.ClientSession(
        url,
        headers={"Authorization": f"Bearer {api_key}", "Content-Type": "application/json"},
        timeout=aiohttp.ClientTimeout(total=answer_within),
        cookie_jar=aiohttp.DummyCookieJar(),
    ) as session:
        yield session


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes


async def exchange(
    request: AbstractAsyncContextManager[aiohttp.ClientResponse], *, part: str
) -> Answer:
    """Send `request` to `part`, and return its answer, whatever it says.

    Raises:
        Unavailable: there is no connection, so `part` was not asked.
        TimedOut: there was no answer in time.
        OutcomeUnknown: there was none, or only a piece of one.
    """
    # `from None`: the causes' frames hold the request's body, which may hold a token or a mail.
    try:
        async with request as response:
            return Answer(response.status, response.headers, await response.read())
    except _NOT_CONNECTED as error:
        raise Unavailable(f"{part} cannot be reached: {type(error).__name__}") from None
    except TimeoutError:
        raise TimedOut(f"{part} is too slow") from None
    except aiohttp.ClientError as error:
        raise OutcomeUnknown(f"{part} broke off: {type(error).__name__}") from None


_NOT_CONNECTED = (
    aiohttp.ClientConnectorError,  # TLS and the proxy included
    aiohttp.ConnectionTimeoutError,
    aiohttp.ClientHttpProxyError,
    aiohttp.InvalidURL,
)


async def answered(
    request: AbstractAsyncContextManager[aiohttp.ClientResponse], *, part: str
) -> tuple[int, bytes]:
    """Send `request` to `part`, and return status and body of its answer, which is not a 5xx.

    Raises:
        TimedOut: there was no answer in time.
        Unavailable: there was none, only a piece of one, or a 5xx. As after `TimedOut`, what was
            asked may have been done all the same.
    """
    try:
        status, _, body = await exchange(request, part=part)
    except OutcomeUnknown as error:
        raise Unavailable(str(error)) from None
    if status >= 500:
        raise Unavailable(f"{part} answered {status}")
    return status, body
