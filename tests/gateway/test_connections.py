import asyncio
import contextlib
import gc
import socket
import struct
import time

import psutil
import pytest
from structlog.typing import EventDict

from cartwheel.gateway.clients import Clients, Networks
from cartwheel.gateway.cognito import Cognito
from cartwheel.gateway.connections import BoundedProtocol, Limits
from cartwheel.gateway.identity import Verifier
from cartwheel.gateway.server import GRACE_SECONDS, serve
from cartwheel.kernel.lowlevel import CannotListen, Stop

from ..waiting import eventually
from .conftest import Gateway, Reply, probe_app, running
from .probes import SLOW

LIST = b"GET /api/v1/probe/list HTTP/1.1\r\nHost: x\r\n"
ITEMS = b"POST /api/v1/probe/items HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
TRICKLES = {
    "says nothing": (b"", b""),
    "trailers": (ITEMS + b"Transfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n0\r\n", b"a: b\r\n"),
    "head": (LIST, b"X-A: b\r\n"),
    "empty lines": (b"", b"\r\n"),
    "body": (ITEMS + b"Content-Length: 1000\r\n\r\n", b"["),
    "chunks": (ITEMS + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n[\r\n"),
    "next request": (LIST + b"\r\n" + LIST, b"X-A: b\r\n"),
    "refused body": (ITEMS + b"Content-Length: 900000\r\n\r\n", b"["),
    "refused body that does not come": (ITEMS + b"Content-Length: 900000\r\n\r\n", b""),
}


@pytest.mark.parametrize("trickle", TRICKLES.values(), ids=TRICKLES.keys())
async def test_fifty_slow_clients_are_cut_off(
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


async def test_a_head_over_32_kb_is_431_also_when_it_comes_in_one_read(gateway: Gateway) -> None:
    for size, status in ((31 * 1024, b"200"), (34 * 1024, b"431"), (200 * 1024, b"431")):
        head = LIST + b"X-A: " + b"b" * size + b"\r\nConnection: close\r\n\r\n"
        assert (await gateway.send_raw(head)).startswith(b"HTTP/1.1 " + status), size


async def test_more_than_256_headers_are_431(gateway: Gateway) -> None:
    for count, status in ((250, b"200"), (257, b"431")):
        head = LIST + b"X-A: b\r\n" * count + b"Connection: close\r\n\r\n"
        assert (await gateway.send_raw(head))[9:12] == status


async def test_a_path_or_query_over_8_kb_is_414(gateway: Gateway) -> None:
    rest = b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    for begin in (b"GET /health/", b"GET /health/live?"):
        assert (await gateway.send_raw(begin + b"x" * 8_000 + rest))[9:12] in (b"404", b"422")
        assert (await gateway.send_raw(begin + b"x" * 8_200 + rest))[9:12] == b"414"


HOSTS = {
    "none": (b"", b"400"),
    "two": (b"Host: x\r\nHost: x\r\n", b"400"),
    "two in one": (b"Host: x, y\r\n", b"400"),
    "no host name": (b"Host: x/y\r\n", b"400"),
    "with a space": (b"Host: x y\r\n", b"400"),
    "empty": (b"Host:\r\n", b"200"),
    "with a port": (b"Host: shop.example:8000\r\n", b"200"),
    "IPv6": (b"Host: [::1]:8000\r\n", b"200"),
}


@pytest.mark.parametrize(("hosts", "status"), HOSTS.values(), ids=HOSTS.keys())
async def test_a_request_names_one_host(gateway: Gateway, hosts: bytes, status: bytes) -> None:
    head = b"GET /health/live HTTP/1.1\r\n" + hosts + b"Connection: close\r\n\r\n"
    assert (await gateway.send_raw(head)).startswith(b"HTTP/1.1 " + status)


async def test_http_1_0_needs_no_host(gateway: Gateway) -> None:
    answer = await gateway.send_raw(b"GET /health/live HTTP/1.0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200")


CHUNKED = ITEMS + b"Transfer-Encoding: chunked\r\n\r\n"
ONE = b'{"items": [{"quantity": 1}]}'
LONG = b'{"items": [' + b",".join([b'{"quantity": 1}'] * 5000) + b"]}"


def chunks(body: bytes, size: int, extension: bytes = b"") -> bytes:
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x%b\r\n%b\r\n" % (len(part), extension, part) for part in parts)


FRAMED = {
    "one chunk": (chunks(ONE, 100) + b"0\r\n\r\n", b"201"),
    "chunks of one byte": (chunks(ONE, 1) + b"0\r\n\r\n", b"201"),
    "a long body in small chunks": (chunks(LONG, 64) + b"0\r\n\r\n", b"201"),
    "a short extension": (chunks(ONE, 100, b";a=b") + b"0\r\n\r\n", b"201"),
    "a long extension": (chunks(ONE, 100, b";a=" + b"b" * 34_000) + b"0\r\n\r\n", b"400"),
    "many extensions": (chunks(LONG, 100, b";a=" + b"b" * 60) + b"0\r\n\r\n", b"400"),
    "a short trailer": (chunks(ONE, 100) + b"0\r\na: b\r\n\r\n", b"201"),
    "a long trailer": (chunks(ONE, 100) + b"0\r\na: " + b"b" * 34_000 + b"\r\n\r\n", b"400"),
    "many trailers": (chunks(ONE, 100) + b"0\r\n" + b"a: b\r\n" * 9000 + b"\r\n", b"400"),
}


@pytest.mark.parametrize(("body", "status"), FRAMED.values(), ids=FRAMED.keys())
async def test_the_framing_of_a_chunked_body_is_limited(
    gateway: Gateway, body: bytes, status: bytes
) -> None:
    last = LIST + b"Connection: close\r\n\r\n"
    answer = await gateway.send_raw(CHUNKED + body + last)
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert answer.count(b"HTTP/1.1 ") == (2 if status == b"201" else 1)


async def test_while_a_request_is_answered_no_more_are_read(gateway: Gateway) -> None:
    with socket.create_connection(("127.0.0.1", gateway.port)) as client:
        client.setblocking(False)
        await take(client, b"GET /api/v1/probe/slow/2 HTTP/1.1\r\nHost: x\r\n\r\n")
        taken = 0
        while taken < 50_000_000 and (more := await take(client, (LIST + b"\r\n") * 2000)):
            taken += more
    # What the sockets' buffers take, and one read: before, there was no end to it.
    assert taken < 20_000_000


async def take(client: socket.socket, data: bytes) -> int:
    """Return how much of `data` was taken within half a second."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.5):
            while True:
                with contextlib.suppress(BlockingIOError):
                    return client.send(data)
                await asyncio.sleep(0.01)
    return 0


async def test_requests_before_a_broken_one_are_answered_first(gateway: Gateway) -> None:
    slow = b"GET /api/v1/probe/slow/0.2 HTTP/1.1\r\nHost: x\r\n\r\n"
    posted = ITEMS + b"Content-Length: %d\r\n\r\n" % len(ONE) + ONE
    for whole, status in ((slow, b"200"), (posted, b"201")):
        for broken in (b"NONSENSE\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"):
            answer = await gateway.send_raw(whole + broken)
            statuses = [part[:3] for part in answer.split(b"HTTP/1.1 ")[1:]]
            assert statuses == [status, b"400"]


@pytest.mark.parametrize("header", [b"", b"Connection: close\r\n"], ids=["", "close"])
async def test_a_client_that_sends_ten_megabytes_before_reading_sees_the_413(
    gateway: Gateway, header: bytes
) -> None:
    def send_all_then_read() -> bytes:
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=8) as client:
            client.sendall(ITEMS + header + b"Content-Length: 10000000\r\n\r\n")
            client.sendall(b"[" * 10_000_000)
            return client.recv(1000)

    answer = await asyncio.to_thread(send_all_then_read)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in answer.lower()


async def test_the_connection_outlives_a_refused_body_that_is_short(gateway: Gateway) -> None:
    reader, writer = await gateway.connect()
    for _ in range(3):
        writer.write(b"GET /api/v1/probe/whoami HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")
        async with asyncio.timeout(5):
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 401 ")
            await reader.readuntil(b"}")
        writer.write(b"[" * 9)
    writer.close()


async def test_an_endless_refused_body_is_not_read_forever(gateway: Gateway) -> None:
    _, writer = await gateway.connect()
    writer.write(ITEMS + b"Content-Length: 10000000000\r\n\r\n")
    sent = 0
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(5):
            while sent < 200_000_000:
                writer.write(b"[" * 1_000_000)
                sent += 1_000_000
                await writer.drain()
    assert sent < 100_000_000
    writer.transport.abort()


async def test_one_connection_too_many_is_told_503(
    verifier: tuple[Verifier, Cognito],
) -> None:
    async with running(probe_app(*verifier), Limits(connections=3)) as gateway:
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


@pytest.mark.parametrize("apart", [False, True], ids=["in one", "apart"])
async def test_an_offer_of_another_protocol_is_ignored_and_the_body_read(
    gateway: Gateway, apart: bool
) -> None:
    hidden = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
    for body, status in ((ONE, b"201"), (hidden, b"400")):
        reader, writer = await gateway.connect()
        writer.write(
            ITEMS
            + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
            b"Content-Length: %d\r\n\r\n" % len(body)
        )
        if apart:
            await asyncio.sleep(0.1)
        writer.write(body + LIST + b"Connection: close\r\n\r\n")
        answer = await reader.read()
        assert [part[:3] for part in answer.split(b"HTTP/1.1 ")[1:]] == [status, b"200"]


async def test_connect_requests_are_refused(gateway: Gateway) -> None:
    answer = await gateway.send_raw(b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n" + LIST + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 400")
    assert answer.count(b"HTTP/1.1 ") == 1


async def test_a_client_that_has_shut_down_its_sending_side_is_answered(gateway: Gateway) -> None:
    reader, writer = await gateway.connect()
    writer.write(b"GET /api/v1/probe/slow/0.3 HTTP/1.1\r\nHost: x\r\n\r\n")
    writer.write_eof()
    assert (await reader.read()).startswith(b"HTTP/1.1 200 ")


async def test_a_request_behind_a_slow_one_has_its_own_time_limit(impatient: Gateway) -> None:
    reader, writer = await impatient.connect()
    writer.write(b"GET /api/v1/probe/slow/1.0 HTTP/1.1\r\nHost: x\r\n\r\n")
    writer.write(ITEMS + b"Content-Length: %d\r\n\r\n{" % len(ONE))
    assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
    writer.write(ONE[1:])
    await reader.readuntil(b"HTTP/1.1 201 ")
    writer.write(ITEMS + b"Content-Length: %d\r\n\r\n{" % len(ONE))
    await impatient.is_rid_of(writer)


async def test_the_last_answer_must_be_read_in_time(
    verifier: tuple[Verifier, Cognito],
) -> None:
    limits = Limits(response=60, flush=0.4, linger=0.4)
    async with running(probe_app(*verifier), limits) as gateway:
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            client.connect(("127.0.0.1", gateway.port))
            client.sendall((LIST + b"\r\n") * 400 + b"NONSENSE\r\n\r\n")
            name = client.getsockname()

            async def closed() -> None:
                assert name not in [each.raddr for each in psutil.Process().net_connections("tcp4")]

            await eventually(closed)


async def test_a_reset_connection_leaves_nothing_in_memory(gateway: Gateway) -> None:
    gc.collect()
    gc.disable()
    try:
        before = alive()
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", gateway.port)) as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.sendall((LIST + b"\r\n") * 1000)
                await asyncio.sleep(0.02)

        async def gone() -> None:
            assert alive() <= before

        await eventually(gone)
    finally:
        gc.enable()


def alive() -> int:
    return sum(type(each) is BoundedProtocol for each in gc.get_objects())


async def test_a_client_that_disconnects_early_is_not_a_crash(
    gateway: Gateway, logged: list[EventDict], caplog: pytest.LogCaptureFixture
) -> None:
    slow = b"GET /api/v1/probe/slow/0.2 HTTP/1.1\r\nHost: x\r\n\r\n"
    refused = b"GET /api/v1/probe/whoami HTTP/1.1\r\nHost: x\r\nContent-Length: 65800\r\n\r\n"
    for begin in (
        slow * 2,
        ITEMS + b"Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        refused + b"[" * 65_800 + slow,
    ):
        _, writer = await gateway.connect()
        writer.write(begin)
        await asyncio.sleep(0.1)
        writer.transport.abort()
    await asyncio.sleep(0.5)
    assert not [line for line in logged if line["log_level"] == "error"]
    assert not caplog.records


class TestOneAddress:
    async def test_may_hold_so_many_connections_and_others_are_let_in(
        self, verifier: tuple[Verifier, Cognito]
    ) -> None:
        async with running(probe_app(*verifier), clients=Clients(most=5)) as gateway:
            held = [await gateway.connect() for _ in range(5)]
            reader, writer = await gateway.connect()
            answer = await reader.read()
            assert answer.startswith(b"HTTP/1.1 429 ")
            assert b"too_many_connections" in answer
            assert b"retry-after" in answer
            assert await asked_from("127.0.0.2", gateway) == b"200"
            assert (await gateway.send_raw(ITEMS + b"x" * 200_000)).startswith(b"HTTP/1.1 429 ")
            held[0][1].close()
            writer.close()

            async def let_in() -> None:
                assert await asked_from("127.0.0.1", gateway) == b"200"

            await eventually(let_in)
            for _, other in held:
                other.close()

    @pytest.mark.parametrize(
        "clients", [Clients(most=5, trusted=Networks("127.0.0.0/8")), Clients(most=0)]
    )
    async def test_has_no_limit_as_a_trusted_proxy_or_where_it_is_switched_off(
        self, verifier: tuple[Verifier, Cognito], clients: Clients
    ) -> None:
        async with running(probe_app(*verifier), clients=clients) as gateway:
            held = [await gateway.connect() for _ in range(10)]
            assert (await gateway.get("/health/live")).status == 200
            for _, writer in held:
                writer.close()

    async def test_is_the_one_that_a_trusted_proxy_names(
        self, verifier: tuple[Verifier, Cognito], logged: list[EventDict]
    ) -> None:
        for trusted, client in (("127.0.0.1", "203.0.113.7"), ("10.0.0.1", "127.0.0.1")):
            clients = Clients(trusted=Networks(trusted))
            async with running(probe_app(*verifier), clients=clients) as gateway:
                headers = {"X-Forwarded-For": "198.51.100.1, 203.0.113.7"}
                await gateway.get("/api/v1/probe/list", headers=headers)
            assert logged[-1]["client"] == client


async def asked_from(address: str, gateway: Gateway) -> bytes:
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", gateway.port, local_addr=(address, 0)
    )
    try:
        writer.write(LIST + b"Connection: close\r\n\r\n")
        return (await reader.read())[9:12]
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def test_requests_sent_without_waiting_for_answers_are_answered_in_order(
    gateway: Gateway,
) -> None:
    paths = ("slow/0.1", "list?limit=5", "raise/conflict", "list?limit=6")
    lines = [f"GET /api/v1/probe/{path} HTTP/1.1\r\nHost: x\r\n" for path in paths]
    whole = "\r\n".join(lines) + "Connection: close\r\n\r\n"
    answer = await gateway.send_raw(whole.encode())
    bodies = [part.partition(b"\r\n\r\n")[2] for part in answer.split(b"HTTP/1.1 ")[1:]]
    assert [body[:1] for body in bodies] == [b"t", b"5", b"{", b"6"]


async def test_a_client_that_disconnects_is_not_a_crash(
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
    async def test_requests_in_progress_finish_and_new_ones_are_refused(
        self, verifier: tuple[Verifier, Cognito]
    ) -> None:
        async with running(probe_app(*verifier)) as gateway:
            await gateway.connect()  # and say nothing
            slow = await begun(gateway, seconds=0.5)
            stopping = time.monotonic()
        # `running` has stopped the server.
        assert (await slow).body == b"true"
        assert time.monotonic() - stopping < GRACE_SECONDS
        with pytest.raises(ConnectionRefusedError):
            await gateway.connect()

    async def test_a_request_that_takes_too_long_has_an_unknown_outcome(
        self, verifier: tuple[Verifier, Cognito], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("cartwheel.gateway.server.GRACE_SECONDS", 1)
        async with running(probe_app(*verifier)) as gateway:
            slow = await begun(gateway, seconds=30.0)
        reply = await slow
        assert (reply.status, reply.problem["code"]) == (503, "outcome_unknown")

    async def test_a_taken_port_is_an_error_at_once(
        self, gateway: Gateway, verifier: tuple[Verifier, Cognito]
    ) -> None:
        with pytest.raises(CannotListen, match=f"PORT is {gateway.port}, which is taken"):
            await serve(
                probe_app(*verifier),
                "127.0.0.1",
                gateway.port,
                started=lambda: None,
                stop=Stop(),
            )
