"""Asking a part of the system over HTTP: whatever is not an answer is an outage."""

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import aiohttp

from cartwheel.kernel.errors import TimedOut, Unavailable


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


async def answered(
    request: AbstractAsyncContextManager[aiohttp.ClientResponse], *, part: str
) -> tuple[int, bytes]:
    """Send `request` to `part`, and return status and body of its answer, which is not a 5xx.

    Raises:
        TimedOut: there was no answer in time.
        Unavailable: there was none, only a piece of one, or a 5xx. As after `TimedOut`, what was
            asked may have been done all the same.
    """
    # `from None`: the causes' frames hold the request's body, which may be a card.
    try:
        async with request as response:
            status, body = response.status, await response.read()
    except TimeoutError:
        raise TimedOut(f"{part} is too slow") from None
    except aiohttp.ClientError as error:
        raise Unavailable(f"{part}: {type(error).__name__}") from None
    if status >= 500:
        raise Unavailable(f"{part} answered {status}")
    return status, body
