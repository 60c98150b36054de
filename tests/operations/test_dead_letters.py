"""`cartwheel dlq`: what is parked can be seen, explained, replayed and dropped; never lost."""

import asyncio
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractChannel, AbstractConnection
from aiormq.exceptions import PublishError
from typer.testing import CliRunner

from cartwheel.kernel.bus import topology, wire
from cartwheel.kernel.bus.connection import Connection
from cartwheel.kernel.bus.consuming import ATTEMPTS, Consumer, on
from cartwheel.kernel.bus.wire import StoredEvent
from cartwheel.kernel.ids import new_id
from cartwheel.kernel.messages import CloudEvent
from cartwheel.kernel.store.client import Database
from cartwheel.local.up import System
from cartwheel.operations.dead_letters import actions, listing
from cartwheel.operations.dead_letters.audit import Action, Audit, Line
from cartwheel.operations.dead_letters.commands import dlq
from cartwheel.operations.dead_letters.parked import Parked

from ..journeys.command_line import cartwheel
from ..kernel.messages import Happened
from ..waiting import eventually
from . import replaying
from .conftest import SERVICE

DEAD = topology.dead_queue(SERVICE)
EVENTS = topology.event_queue(SERVICE)


def happened(number: int, id: str | None = None) -> StoredEvent:
    return StoredEvent(
        id=id or f"evt_{number}",
        type=Happened.type,
        source="tests",
        subject=f"thing_{number}",
        sequence=1,
        time=datetime(2026, 11, 22, tzinfo=UTC),
        data=wire.encode(Happened(number=number)).decode(),
    )


async def park(channel: AbstractChannel, *numbers: int, **headers: Any) -> None:
    """Park events the way a consumer does."""
    told = {"reason": "by zero", "stack": "Traceback …", ATTEMPTS: 4, "origin": EVENTS}

    def message(number: int) -> Message:
        parked = wire.write_event(happened(number))
        parked.headers.update({**told, **headers})
        return parked

    publish = channel.default_exchange.publish
    await asyncio.gather(*(publish(message(number), DEAD) for number in numbers))


async def count(channel: AbstractChannel, name: str) -> int:
    declared = await channel.declare_queue(name, passive=True)
    return declared.declaration_result.message_count or 0


async def holds(channel: AbstractChannel, name: str, number: int) -> None:
    """Wait until a queue holds so many: what is given back takes a moment."""

    async def look() -> None:
        assert await count(channel, name) == number

    await eventually(look, within=5)


async def everything_parked(rabbitmq: AbstractConnection, limit: int = 0) -> list[Parked]:
    pieces = [some async for some in listing.parked(rabbitmq, [SERVICE], limit=limit)]
    return [each for some in pieces for each in some]


@asynccontextmanager
async def consuming(url: str, handled: list[int], *, broken: bool = False) -> AsyncGenerator[None]:
    """Run the tests' service; while it is `broken` it handles nothing."""

    async def handle(event: CloudEvent[Happened]) -> None:
        if broken:
            raise ZeroDivisionError("by zero")
        handled.append(event.data.number)

    async def probe() -> None:
        """Everything is there."""

    connection = Connection(url, process="tests")
    connection.add(Consumer(SERVICE, [on(Happened, handle)], probe=probe))
    await connection.start()
    try:
        yield
    finally:
        await connection.stop()


@pytest.fixture
def audit(database: Database) -> Audit:
    return Audit(database)


def nobody(line: Line) -> None:
    """Is told of every action, and does not care."""


async def replay(rabbitmq: AbstractConnection, audit: Audit, *ids: str) -> frozenset[str]:
    return await actions.act(
        rabbitmq, [SERVICE], frozenset(ids), action=Action.REPLAY, audit=audit, told=nobody
    )


async def test_listing_tells_why_and_leaves_everything_parked(
    rabbitmq: AbstractConnection, channel: AbstractChannel
) -> None:
    await park(channel, *range(1200))

    parked = await everything_parked(rabbitmq)

    assert sorted(each.id for each in parked) == sorted(f"evt_{n}" for n in range(1200))
    assert {(each.reason, each.attempts, each.type) for each in parked} == {
        ("by zero", 4, Happened.type)
    }
    assert parked[0].subject == f"thing_{parked[0].id.removeprefix('evt_')}"
    await holds(channel, DEAD, 1200)


async def test_a_list_takes_no_more_in_hand_than_it_shows(
    rabbitmq: AbstractConnection, channel: AbstractChannel
) -> None:
    await park(channel, *range(20))
    assert len(await everything_parked(rabbitmq, limit=5)) == 5
    await holds(channel, DEAD, 20)


async def test_what_a_consumer_parks_is_explained_replayed_after_a_fix_and_done(
    system: System, rabbitmq: AbstractConnection, channel: AbstractChannel, audit: Audit
) -> None:
    url = system.environment["RABBITMQ_URL"]
    poison = wire.write_event(happened(7))
    poison.headers[ATTEMPTS] = 3
    async with consuming(url, [], broken=True):
        await channel.default_exchange.publish(poison, EVENTS)
        await holds(channel, DEAD, 1)

    (parked,) = await actions.find(rabbitmq, [SERVICE], frozenset({"evt_7"}))
    assert (parked.reason, parked.attempts, parked.replayed) == ("by zero", 4, 0)
    assert "ZeroDivisionError" in (parked.stack or "")
    assert parked.payload == {"number": 7}
    await holds(channel, DEAD, 1)

    assert await replay(rabbitmq, audit, "evt_7") == {"evt_7"}
    handled: list[int] = []
    async with consuming(url, handled):

        async def done() -> None:
            assert handled == [7]

        await eventually(done)
    await holds(channel, DEAD, 0)


async def test_a_message_that_killed_its_reader_too_often_is_explained(
    rabbitmq: AbstractConnection, channel: AbstractChannel
) -> None:
    await channel.default_exchange.publish(wire.write_event(happened(1)), EVENTS)
    taken = await channel.get_queue(EVENTS)
    while (message := await taken.get(fail=False)) is not None:
        await message.reject(requeue=True)
    await holds(channel, DEAD, 1)

    (parked,) = await everything_parked(rabbitmq)

    assert parked.reason == "killed its reader 21 times, so RabbitMQ took it away"
    assert parked.attempts == topology.DELIVERY_LIMIT + 1
    assert parked.since is not None
    assert (parked.id, parked.subject) == ("evt_1", "thing_1")


async def test_what_is_no_event_at_all_can_be_named_and_dropped(
    rabbitmq: AbstractConnection, channel: AbstractChannel, audit: Audit
) -> None:
    await channel.default_exchange.publish(Message(b"\xff\xfe"), DEAD)
    (parked,) = await everything_parked(rabbitmq)
    assert parked.reason == "unknown: it came without a reason"
    assert parked.payload == "//4="

    dropped = await actions.act(
        rabbitmq,
        [SERVICE],
        frozenset({parked.id}),
        action=Action.DROP,
        why="noise",
        audit=audit,
        told=nobody,
    )

    assert dropped == {parked.id}
    await holds(channel, DEAD, 0)


async def test_replay_begins_anew_and_counts_how_often(
    rabbitmq: AbstractConnection, channel: AbstractChannel, audit: Audit
) -> None:
    await park(channel, 1, 2, replayed=1)

    await replay(rabbitmq, audit, "evt_1")

    message = await (await channel.get_queue(EVENTS)).get()
    await message.ack()
    assert message is not None
    original = wire.write_event(happened(1))
    headers = {name: each for name, each in message.headers.items() if name[:2] != "x-"}
    assert headers == {**original.headers, "replayed": 2}
    assert (message.body, message.message_id) == (original.body, "evt_1")
    assert message.delivery_mode == DeliveryMode.PERSISTENT
    await holds(channel, DEAD, 1)


async def test_a_replayed_event_that_is_parked_again_is_not_replayed_twice_in_one_go(
    system: System, rabbitmq: AbstractConnection, channel: AbstractChannel, audit: Audit
) -> None:
    unreadable = Message(b"no json", headers=wire.write_event(happened(1)).headers)
    for _ in range(3):
        await channel.default_exchange.publish(unreadable, DEAD)
    lines: list[Line] = []
    async with consuming(system.environment["RABBITMQ_URL"], []):
        replayed = await actions.replay_all(
            rabbitmq, [SERVICE], rate=5, audit=audit, told=lines.append
        )
        await holds(channel, DEAD, 3)

    assert replayed == len(lines) == 3
    assert [each.replayed for each in await everything_parked(rabbitmq)] == [1, 1, 1]


async def test_replaying_all_keeps_to_its_rate(
    rabbitmq: AbstractConnection, channel: AbstractChannel, audit: Audit
) -> None:
    await park(channel, *range(30))
    began = asyncio.get_running_loop().time()

    await actions.replay_all(rabbitmq, [SERVICE], rate=20, audit=audit, told=nobody)

    assert 1.2 < asyncio.get_running_loop().time() - began < 5
    await holds(channel, EVENTS, 30)
    assert await count(channel, DEAD) == 0


async def test_an_event_that_rabbitmq_does_not_take_stays_parked(
    rabbitmq: AbstractConnection, channel: AbstractChannel, audit: Audit
) -> None:
    await park(channel, 1)
    await channel.queue_delete(EVENTS)

    with pytest.raises(PublishError):
        await replay(rabbitmq, audit, "evt_1")

    await holds(channel, DEAD, 1)
    (line,) = [line async for line in audit.newest(0)]
    assert not line.done


async def test_killing_the_tool_while_it_replays_loses_nothing(
    system: System, channel: AbstractChannel, database: Database
) -> None:
    await park(channel, *range(400))
    environment = system.environment
    tool = await asyncio.create_subprocess_exec(
        *(sys.executable, replaying.__file__, SERVICE),
        *(environment["RABBITMQ_URL"], environment["MONGODB_URI"], database.name),
        stdout=asyncio.subprocess.PIPE,
    )
    assert tool.stdout
    for _ in range(100):
        await tool.stdout.readline()

    tool.kill()
    await tool.communicate()

    async def all_there() -> set[str]:
        replayed, parked = await count(channel, EVENTS), await count(channel, DEAD)
        assert replayed + parked >= 400
        assert 100 <= replayed < 400
        return await ids_in(channel, EVENTS) | await ids_in(channel, DEAD)

    assert len(await eventually(all_there)) == 400


async def ids_in(channel: AbstractChannel, name: str) -> set[str]:
    """Take all messages of a queue; return their ids."""
    taken = await channel.get_queue(name)
    ids: set[str] = set()
    while (message := await taken.get(fail=False, no_ack=True)) is not None:
        ids.add(message.message_id or "")
    return ids


class Interrupted(Exception):
    """The tool dies here."""


class DiesBeforeFinishing(Audit):
    async def finish(self, lines: object) -> list[Line]:
        raise Interrupted


async def test_nothing_is_done_without_a_line_in_the_audit(
    rabbitmq: AbstractConnection, channel: AbstractChannel, database: Database
) -> None:
    await park(channel, 1)
    with pytest.raises(Interrupted):
        await replay(rabbitmq, DiesBeforeFinishing(database), "evt_1")

    (line,) = [line async for line in Audit(database).newest(0)]
    assert (line.event_id, line.action, line.done) == ("evt_1", Action.REPLAY, False)


async def test_the_audit_keeps_what_was_dropped(
    rabbitmq: AbstractConnection, channel: AbstractChannel, audit: Audit
) -> None:
    await park(channel, 5)
    told: list[Line] = []
    await actions.act(
        rabbitmq,
        [SERVICE],
        frozenset({"evt_5"}),
        action=Action.DROP,
        why="a test",
        audit=audit,
        told=told.append,
    )

    lines = [line async for line in audit.newest(0)]
    assert lines == told
    (line,) = lines
    assert (line.action, line.service, line.event_id, line.why) == (
        Action.DROP,
        SERVICE,
        "evt_5",
        "a test",
    )
    assert line.done
    assert line.who
    assert line.message is not None
    assert line.message["payload"] == {"number": 5}
    assert line.message["headers"]["reason"] == "by zero"


async def test_an_operator_sees_replays_and_drops_what_the_system_has_parked(
    system: System, channel: AbstractChannel
) -> None:
    """The whole way on a running service: notifications cannot read this event."""
    id, dead = new_id("evt"), topology.dead_queue("notifications")
    unreadable = Message(
        b"no json",
        message_id=id,
        headers={**wire.write_event(happened(1, id)).headers, "cloudEvents_type": "order.paid.v1"},
        delivery_mode=DeliveryMode.PERSISTENT,
    )
    before = await count(channel, dead)
    await channel.default_exchange.publish(unreadable, topology.event_queue("notifications"))
    await holds(channel, dead, before + 1)

    listed = await cartwheel(system, "dlq", "list", "--json", "--service", "notifications")
    (found,) = [each for each in msgspec.json.decode(listed.output) if each["id"] == id]
    assert (found["service"], found["attempts"], found["type"]) == (
        "notifications",
        1,
        "order.paid.v1",
    )

    shown = await cartwheel(system, "dlq", "show", id)
    assert shown.status == 0, shown.errors
    assert "Undecodable" in shown.output
    assert '"no json"' in shown.output

    replayed = await cartwheel(system, "dlq", "replay", id, "evt_none")
    assert msgspec.json.decode(replayed.output)["event_id"] == id
    assert replayed.errors == "✗ nothing is parked as evt_none (see `cartwheel dlq list`)\n"
    assert replayed.status == 1
    await holds(channel, dead, before + 1)

    dropped = await cartwheel(system, "dlq", "drop", id, "--why", "only a test")
    assert dropped.status == 0, dropped.errors
    await holds(channel, dead, before)

    audited = await cartwheel(system, "dlq", "audit", "--json")
    ours = [line for line in msgspec.json.decode(audited.output) if line["event_id"] == id]
    assert [(line["action"], line["why"], line["done"]) for line in ours] == [
        ("drop", "only a test", True),
        ("replay", None, True),
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        ["drop", "evt_1"],
        ["drop", "evt_1", "--why", " "],
        ["replay"],
        ["replay", "evt_1", "--all"],
        ["list", "--service", "gateway"],
    ],
    ids=" ".join,
)
def test_what_is_asked_wrongly_is_not_done(arguments: list[str]) -> None:
    assert CliRunner().invoke(dlq, arguments).exit_code == 2
