"""Should requests be sent to this gateway? And what a client meets while it drains."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from cartwheel.gateway.cognito import Cognito
from cartwheel.gateway.identity import Verifier
from cartwheel.gateway.routes import health
from cartwheel.kernel.lowlevel import Stop

from ..waiting import eventually
from . import probes
from .conftest import Gateway, Reply, probe_app, running

HEARD: Mapping[str, float | None] = {"orders": 0.04, "payments": None}
FOREVER = 300.0


async def test_a_ready_gateway_says_when_each_service_has_last_answered(gateway: Gateway) -> None:
    reply = await gateway.get("/health/ready")

    assert reply.status == 200
    assert reply.json == {"status": "ok", "services": {"orders": 0.0, "payments": None}}
    assert (await gateway.get("/health/live")).json == {"status": "ok"}


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"stopping": True}, "The gateway is stopping."),
        ({"connected": False}, "The connection to RabbitMQ is down."),
        ({"services": {"orders": 5.1, "payments": None}}, "No service has answered for 5 s."),
    ],
)
async def test_an_unready_gateway_lives_and_says_why(
    verifier: tuple[Verifier, Cognito], changed: dict[str, Any], why: str
) -> None:
    well: dict[str, Any] = {"stopping": False, "connected": True, "services": HEARD}
    now = health.judge(**(well | changed))

    async with running(probe_app(*verifier, look=lambda: now)) as gateway:
        live, ready = await gateway.get("/health/live"), await gateway.get("/health/ready")

    assert live.status == 200
    assert ready.status == 503
    assert ready.problem["code"] == "unavailable"
    assert ready.problem["detail"] == why
    assert ready.json["services"] == now.services
    assert int(ready.headers["Retry-After"]) >= 1


async def test_one_service_that_answers_is_enough(verifier: tuple[Verifier, Cognito]) -> None:
    now = health.judge(stopping=False, connected=True, services={"orders": 60.0, "payments": 4.9})

    async with running(probe_app(*verifier, look=lambda: now)) as gateway:
        assert (await gateway.get("/health/ready")).status == 200


async def test_the_description_tells_of_both_answers(real: Gateway) -> None:
    document = (await real.get("/api/openapi.json")).json

    answers = document["paths"]["/health/ready"]["get"]["responses"]
    [unready] = answers["503"]["content"].values()
    [kind, _] = [each["$ref"].rpartition("/")[2] for each in unready["schema"]["anyOf"]]
    assert {"services", "detail"} <= set(document["components"]["schemas"][kind]["required"])
    assert list(answers["503"]["content"]) == ["application/problem+json"]


class Customer:
    """Sends one request after the other, by a connection that it keeps while the gateway does."""

    def __init__(self, gateway: Gateway) -> None:
        self.answers: list[Reply] = []
        self._gateway = gateway
        self._is_leaving = False
        self._coming = asyncio.create_task(self._come())

    async def _come(self) -> None:
        while not self._is_leaving:
            self.answers.append(await self._gateway.get("/api/v1/probe/list"))

    async def has(self, more: int) -> None:
        """Wait for so many answers more."""
        wanted = len(self.answers) + more

        async def are_there() -> None:
            assert len(self.answers) >= wanted

        await eventually(are_there)

    async def leave(self) -> None:
        self._is_leaving = True
        await self._coming


def closes(reply: Reply) -> bool:
    return reply.headers.get("Connection") == "close"


async def test_a_gateway_drains_under_load_without_one_failed_request(
    verifier: tuple[Verifier, Cognito],
) -> None:
    stop = Stop()

    def look() -> health.Readiness:
        return health.judge(stopping=stop.is_set(), connected=True, services=HEARD)

    async with running(
        probe_app(*verifier, look=look), stop=stop, drain_seconds=FOREVER
    ) as gateway:
        customers = [Customer(gateway) for _ in range(8)]
        await asyncio.gather(*(each.has(more=5) for each in customers))
        assert (await gateway.get("/health/ready")).status == 200

        stop.tell()
        assert (await gateway.get("/health/ready")).status == 503
        before = [len(each.answers) for each in customers]
        await asyncio.gather(*(each.has(more=5) for each in customers))
        # So long a balancer has taken to notice. Now it sends everybody elsewhere.
        await asyncio.gather(*(each.leave() for each in customers))
        assert (await gateway.get("/health/live")).status == 200
    # `running` has told it to stop once more, which ends the drain.

    assert {reply.status for each in customers for reply in each.answers} == {200}
    assert not any(closes(reply) for each in customers for reply in each.answers[:5])
    for customer, count in zip(customers, before, strict=True):
        # One may have been on its way when the drain began.
        assert all(closes(reply) for reply in customer.answers[count + 1 :])
    with pytest.raises(ConnectionRefusedError):
        await gateway.connect()


async def test_an_answer_in_progress_when_the_drain_begins_ends_its_connection(
    verifier: tuple[Verifier, Cognito],
) -> None:
    stop = Stop()
    async with running(probe_app(*verifier), stop=stop, drain_seconds=FOREVER) as gateway:
        probes.SLOW.clear()
        slow = asyncio.create_task(gateway.get("/api/v1/probe/slow/0.5"))

        async def in_hand() -> None:
            assert probes.SLOW

        await eventually(in_hand)
        stop.tell()
        reply = await slow

    assert (reply.status, closes(reply)) == (200, True)


async def test_an_idle_connection_is_served_once_more_during_the_drain(
    verifier: tuple[Verifier, Cognito],
) -> None:
    stop = Stop()
    ask = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
    async with running(probe_app(*verifier), stop=stop, drain_seconds=FOREVER) as gateway:
        reader, writer = await gateway.connect()
        writer.write(ask)
        first = await reader.readuntil(b'{"status":"ok"}')

        stop.tell()
        writer.write(ask)
        async with asyncio.timeout(30):
            second = await reader.read()  # to the end of the connection

    assert b"connection: close" not in first
    assert second.startswith(b"HTTP/1.1 200")
    assert b"connection: close" in second


async def test_a_drain_ends_by_itself(verifier: tuple[Verifier, Cognito]) -> None:
    stop = Stop()
    async with running(probe_app(*verifier), stop=stop, drain_seconds=0.3) as gateway:
        stop.tell()
        assert (await gateway.get("/health/live")).status == 200

        async def is_gone() -> None:
            try:
                await gateway.connect()
            except ConnectionRefusedError:
                return
            raise AssertionError("it still listens")

        await eventually(is_gone)
