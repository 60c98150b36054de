"""`cartwheel dlq`: what is parked can be seen, explained, replayed and dropped; never lost."""

import msgspec
import pytest
from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractChannel, AbstractConnection
from typer.testing import CliRunner

from cartwheel.kernel import new_id
from cartwheel.kernel.operating import ATTEMPTS, topology, wire
from cartwheel.local.up import System
from cartwheel.operations.dead_letters import actions
from cartwheel.operations.dead_letters.audit import Action, Audit
from cartwheel.operations.dead_letters.commands import dlq
from cartwheel.operations.dead_letters.queue import as_published

from ..journeys.command_line import cartwheel
from ..kernel.messages import Happened, headers_of
from ..waiting import eventually
from .conftest import SERVICE
from .letters import (
    DEAD,
    EVENTS,
    consuming,
    count,
    everything_parked,
    happened,
    holds,
    nobody,
    park,
    replay,
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
    poison = as_published(wire.write_event(happened(7)))
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
    await channel.default_exchange.publish(as_published(wire.write_event(happened(1))), EVENTS)
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
    await holds(channel, DEAD, 1)  # RabbitMQ takes back what was looked at a moment later

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


async def test_an_operator_sees_replays_and_drops_what_the_system_has_parked(
    system: System, channel: AbstractChannel
) -> None:
    """The whole way on a running service: notifications cannot read this event."""
    id, dead = new_id("evt"), topology.dead_queue("notifications")
    unreadable = Message(
        b"no json",
        message_id=id,
        headers={**headers_of(happened(1, id)), "cloudEvents_type": "order.paid.v1"},
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
