import asyncio
import contextlib
import time

import pytest
from structlog.typing import EventDict

from cartwheel.gateway.cognito import Cognito
from cartwheel.gateway.connections import BoundedProtocol, Limits
from cartwheel.gateway.identity import Verifier
from cartwheel.gateway.server import GRACE, serve

from ..waiting import eventually
from .conftest import Gateway, Reply, probe_app, running
from .probes import SLOW

LIST = b"GET /api/v1/probe/list HTTP/1.1\r\nHost: x\r\n"
ITEMS = b"POST /api/v1/probe/items HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
TRICKLES = {
    "says nothing": (b"", b""),
    "head": (LIST, b"X-A: b\r\n"),
    "empty lines": (b"", b"\r\n"),
    "body": (ITEMS + b"Content-Length: 1000\r\n\r\n", b"["),
    "chunks": (ITEMS + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n[\r\n"),
    "next request": (LIST + b"\r\n" + LIST, b"X-A: b\r\n"),
    "refused body": (ITEMS + b"Content-Length: 900000\r\n\r\n", b"["),
    "refused body that does not come": (ITEMS + b"Content-Length: 900000\r\n\r\n", b""),
}


@pytest.mark.parametrize("trickle", TRICKLES.values(), ids=TRICKLES.keys())
async def test_fifty_clients_that_send_a_byte_now_and_then_are_cut_off(
    impatient: Gateway, trickle: tuple[bytes, bytes]
) -> None:
    await asyncio.gather(*(send_slowly(impatient, *trickle) for _ in range(50)))
    assert (await impatient.get("/health/live")).status == 200


async def send_slowly(gateway: Gateway, begin: bytes, again: bytes) -> None:
    """Return when the server has hung up, which takes it less than a second, left alone."""
    reader, writer = await gateway.connect()
    try:
        writer.write(begin)
        async with asyncio.timeout(8):
            while not reader.at_eof():
                writer.write(again)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.05):
                        await reader.read(1000)
    except ConnectionError:
        pass
    finally:
        writer.close()


async def test_a_slow_answer_does_not_count_as_a_slow_client(impatient: Gateway) -> None:
    assert (await impatient.get("/api/v1/probe/slow/1.0")).status == 200


async def test_a_client_that_does_not_read_its_answer_is_cut_off(impatient: Gateway) -> None:
    reader, writer = await impatient.connect()
    writer.write(b"GET /api/v1/probe/big HTTP/1.1\r\nHost: x\r\n\r\n")
    assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
    await impatient.is_rid_of(writer)
    with contextlib.suppress(ConnectionError):
        assert len(await reader.read()) < 20_000_000


async def test_a_head_without_end_is_431(gateway: Gateway) -> None:
    for flood in (b"X-A: " + b"b" * 100_000, b"X-A: b\r\n" * 10_000, b"\r\n" * 40_000):
        reader, writer = await gateway.connect()
        writer.write((LIST if flood[:1] == b"X" else b"") + flood)
        async with asyncio.timeout(8):  # the server waits 10 s for the rest
            assert (await reader.readline()).startswith(b"HTTP/1.1 431 ")
        writer.close()


async def test_one_connection_too_many_is_told_503(
    verifier: tuple[Verifier, Cognito],
) -> None:
    class Small(BoundedProtocol):
        class limits(Limits):  # noqa: N801
            connections = 3

    async with running(probe_app(*verifier), Small) as gateway:
        held = [await gateway.connect() for _ in range(3)]
        reader, _ = await gateway.connect()
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"application/problem+json" in answer
        assert b"retry-after" in answer

        for _, writer in held:
            writer.transport.abort()
            await gateway.is_rid_of(writer)
        assert (await gateway.get("/health/live")).status == 200


async def test_requests_sent_without_waiting_for_answers_are_answered_in_order(
    gateway: Gateway,
) -> None:
    paths = ("slow/0.1", "list?limit=5", "raise/conflict", "list?limit=6")
    lines = [f"GET /api/v1/probe/{path} HTTP/1.1\r\nHost: x\r\n" for path in paths]
    whole = "\r\n".join(lines) + "Connection: close\r\n\r\n"
    answer = await gateway.send_raw(whole.encode())
    bodies = [part.partition(b"\r\n\r\n")[2] for part in answer.split(b"HTTP/1.1 ")[1:]]
    assert [body[:1] for body in bodies] == [b"t", b"5", b"{", b"6"]


async def test_a_client_that_hangs_up_is_no_crash(
    gateway: Gateway, logged: list[EventDict], caplog: pytest.LogCaptureFixture
) -> None:
    for begin in (ITEMS + b"Content-Length: 1000\r\n\r\n[", LIST + b"\r\n", LIST):
        _, writer = await gateway.connect()
        writer.write(begin)
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.transport.abort()
        await gateway.is_rid_of(writer)
    assert not [line for line in logged if line["log_level"] == "error"]
    assert not caplog.records


async def begun(gateway: Gateway, *, seconds: float) -> asyncio.Task[Reply]:
    """Return a request that the app has in hand for so many seconds."""
    SLOW.clear()
    slow = asyncio.create_task(gateway.get(f"/api/v1/probe/slow/{seconds}"))

    async def in_hand() -> None:
        assert seconds in SLOW

    await eventually(in_hand)
    return slow


class TestStopping:
    async def test_requests_in_hand_are_finished_and_new_ones_refused(
        self, verifier: tuple[Verifier, Cognito]
    ) -> None:
        async with running(probe_app(*verifier)) as gateway:
            await gateway.connect()  # and say nothing
            slow = await begun(gateway, seconds=0.5)
            stopping = time.monotonic()
        # `running` has stopped the server.
        assert (await slow).body == b"true"
        assert time.monotonic() - stopping < GRACE
        with pytest.raises(ConnectionRefusedError):
            await gateway.connect()

    async def test_what_takes_too_long_is_told_that_the_outcome_is_unknown(
        self, verifier: tuple[Verifier, Cognito], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("cartwheel.gateway.server.GRACE", 1)
        async with running(probe_app(*verifier)) as gateway:
            slow = await begun(gateway, seconds=30.0)
        reply = await slow
        assert (reply.status, reply.problem["code"]) == (503, "outcome_unknown")

    async def test_a_taken_port_is_an_error_at_once(
        self, gateway: Gateway, verifier: tuple[Verifier, Cognito]
    ) -> None:
        with pytest.raises(OSError, match="in use"):
            await serve(
                probe_app(*verifier),
                "127.0.0.1",
                gateway.port,
                started=lambda: None,
                stop=asyncio.Event(),
            )
