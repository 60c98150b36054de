"""Asking a part over HTTP that answers badly, or not at all."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from cartwheel.kernel import http_client
from cartwheel.kernel.errors import Outage, OutcomeUnknown, TimedOut, Unavailable

SENT = b'{"number": "4242"}'


@asynccontextmanager
async def answering(said: bytes, *, hangs: bool = False) -> AsyncGenerator[str]:
    """Yield the URL of a server that says this, and then hangs up, or waits for the other side."""
    done = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(SENT)
        writer.write(said)
        if hangs:
            await reader.read()
        writer.close()
        done.set()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        yield f"http://{host}:{port}"
        await done.wait()


async def ask(url: str, *, answer_within: float = 5) -> tuple[int, bytes]:
    connecting = http_client.connect(url, api_key="key", answer_within=answer_within)
    async with connecting as session:
        request = session.post("/", data=SENT)
        return await http_client.answered(request, dependency="the till")


@pytest.mark.parametrize("status", [200, 404, 499])
async def test_any_status_below_500_is_an_answer(status: int) -> None:
    said = f"HTTP/1.1 {status} X\r\nContent-Length: 2\r\n\r\nhi".encode()
    async with answering(said) as url:
        assert await ask(url) == (status, b"hi")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (b"HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n", "the till answered 500"),
        (b"HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n", "the till answered 503"),
        (b"", "the till broke off: ServerDisconnectedError"),
        (
            b"HTTP/1.1 200 X\r\nContent-Length: 9\r\n\r\nhi",
            "the till broke off: ClientPayloadError",
        ),
        (b"SMTP ready\r\n\r\n", "the till broke off: "),
    ],
)
async def test_an_incomplete_answer_is_an_outage(said: bytes, told: str) -> None:
    async with answering(said) as url:
        with pytest.raises(Unavailable, match=told) as outage:
            await ask(url)

    assert carries_nothing(outage.value)


async def test_a_refused_connection_is_an_outage(unused_tcp_port: int) -> None:
    with pytest.raises(
        Unavailable, match="the till cannot be reached: ClientConnectorError"
    ) as outage:
        await ask(f"http://127.0.0.1:{unused_tcp_port}")

    assert carries_nothing(outage.value)


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 X\r\nContent-Length: 9\r\n\r\nhi"])
async def test_silence_before_or_during_an_answer_is_a_timeout(said: bytes) -> None:
    async with answering(said, hangs=True) as url:
        with pytest.raises(TimedOut, match="the till is too slow") as outage:
            await ask(url, answer_within=0.2)

    assert carries_nothing(outage.value)


async def exchange(url: str, *, answer_within: float = 5) -> http_client.Answer:
    connecting = http_client.connect(url, api_key="key", answer_within=answer_within)
    async with connecting as session:
        return await http_client.exchange(session.post("/", data=SENT), dependency="the till")


@pytest.mark.parametrize("status", [200, 404, 500, 503])
async def test_an_exchange_returns_an_answer_of_any_status(status: int) -> None:
    said = f"HTTP/1.1 {status} X\r\nX-Why: so\r\nContent-Length: 2\r\n\r\nhi".encode()
    async with answering(said) as url:
        answer = await exchange(url)

    assert (answer.status, answer.headers["x-why"], answer.body) == (status, "so", b"hi")


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 X\r\nContent-Length: 9\r\n\r\nhi"])
async def test_an_interrupted_exchange_has_an_unknown_outcome(said: bytes) -> None:
    async with answering(said) as url:
        with pytest.raises(OutcomeUnknown, match="the till broke off") as outage:
            await exchange(url)

    assert carries_nothing(outage.value)


async def test_an_exchange_without_a_connection_was_not_done(
    unused_tcp_port: int,
) -> None:
    with pytest.raises(Unavailable, match="cannot be reached"):
        await exchange(f"http://127.0.0.1:{unused_tcp_port}")


def carries_nothing(outage: Outage) -> bool:
    """Whether no log can tell from it what was sent, even if it follows the exception's causes."""
    return outage.__cause__ is None and (outage.__suppress_context__ or not outage.__context__)
