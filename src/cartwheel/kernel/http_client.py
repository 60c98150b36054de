"""Calls a dependency over HTTP. Everything but an answer is an outage."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import NamedTuple

import aiohttp

from cartwheel.kernel.errors import OutcomeUnknown, TimedOut, Unavailable


class UnexpectedAnswer(Exception):
    """A dependency gave an answer that it should never give. Names status and code."""


@asynccontextmanager
async def connect(
    url: str, *, api_key: str, answer_within: float
) -> AsyncGenerator[aiohttp.ClientSession]:
    """Yield a session for the JSON API at `url`, for example `http://127.0.0.1:8900`.

    `answer_within` is the limit in seconds for one request, including connecting.
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
    request: AbstractAsyncContextManager[aiohttp.ClientResponse], *, dependency: str
) -> Answer:
    """Send `request` to `dependency` and return the answer, whatever its status.

    Raises:
        Unavailable: there is no connection, so the request was not sent.
        TimedOut: there was no answer in time.
        OutcomeUnknown: there was no answer, or an incomplete one.
    """
    # `from None`: the causes' frames hold the request's body, perhaps with a token or a mail.
    try:
        async with request as response:
            return Answer(response.status, response.headers, await response.read())
    except _NOT_CONNECTED as error:
        raise Unavailable(f"{dependency} cannot be reached: {type(error).__name__}") from None
    except TimeoutError:
        raise TimedOut(f"{dependency} is too slow") from None
    except aiohttp.ClientError as error:
        raise OutcomeUnknown(f"{dependency} broke off: {type(error).__name__}") from None


_NOT_CONNECTED = (
    aiohttp.ClientConnectorError,  # TLS and the proxy included
    aiohttp.ConnectionTimeoutError,
    aiohttp.ClientHttpProxyError,
    aiohttp.InvalidURL,
)


async def answered(
    request: AbstractAsyncContextManager[aiohttp.ClientResponse], *, dependency: str
) -> tuple[int, bytes]:
    """Send `request` to `dependency` and return the answer's status, which is below 500, and body.

    Raises:
        TimedOut: there was no answer in time.
        Unavailable: there was no answer, an incomplete one, or a 5xx. As after `TimedOut`, the
            request may have been carried out.
    """
    try:
        status, _, body = await exchange(request, dependency=dependency)
    except OutcomeUnknown as error:
        raise Unavailable(str(error)) from None
    if status >= 500:
        raise Unavailable(f"{dependency} answered {status}")
    return status, body
