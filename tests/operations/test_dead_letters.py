"""`cartwheel dlq`: dead letters are listed, explained, replayed and dropped, and never lost."""

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
    all_dead_letters,
    consuming,
    count,
    dead_letter,
    happened,
    holds,
    nobody,
    replay,
)


async def test_a_list_gives_the_reasons_and_leaves_every_dead_letter_in_its_queue(
    rabbitmq: AbstractConnection, channel: AbstractChannel
) -> None:
    await dead_letter(channel, *range(1200))

    letters = await all_dead_letters(rabbitmq)

    assert sorted(each.id for each in letters) == sorted(f"evt_{n}" for n in range(1200))
    assert {(each.reason, each.attempts, each.type) for each in letters} == {
        ("by zero", 4, Happened.type)
    }
    assert letters[0].subject == f"thing_{letters[0].id.removeprefix('evt_')}"
    await holds(channel, DEAD, 1200)


async def test_a_list_fetches_no_more_than_it_shows(
    rabbitmq: AbstractConnection, channel: AbstractChannel
) -> None:
    await dead_letter(channel, *range(20))
    assert len(await all_dead_letters(rabbitmq, limit=5)) == 5
    await holds(channel, DEAD, 20)


async def test_a_dead_lettered_event_is_explained_and_after_a_fix_replayed_and_handled(
    system: System, rabbitmq: AbstractConnection, channel: AbstractChannel, audit: Audit
) -> None:
    url = system.environment["RABBITMQ_URL"]
    poison = as_published(wire.write_event(happened(7)))
    poison.headers[ATTEMPTS] = 3
    async with consuming(url, [], broken=True):
        await channel.default_exchange.publish(poison, EVENTS)
        await holds(channel, DEAD, 1)

    (letter,) = await actions.find(rabbitmq, [SERVICE], frozenset({"evt_7"}))
    assert (letter.reason, letter.attempts, letter.replayed) == ("by zero", 4, 0)
    assert "ZeroDivisionError" in (letter.stack or "")
    assert letter.payload == {"number": 7}
    await holds(channel, DEAD, 1)

    assert await replay(rabbitmq, audit, "evt_7") == {"evt_7"}
    handled: list[int] = []
    async with consuming(url, handled):

        async def done() -> None:
            assert handled == [7]

        await eventually(done)
    await holds(channel, DEAD, 0)


async def test_a_message_that_crashed_its_consumer_too_often_is_explained(
    rabbitmq: AbstractConnection, channel: AbstractChannel
) -> None:
    await channel.default_exchange.publish(as_published(wire.write_event(happened(1))), EVENTS)
    taken = await channel.get_queue(EVENTS)
    while (message := await taken.get(fail=False)) is not None:
        await message.reject(requeue=True)
    await holds(channel, DEAD, 1)

    (letter,) = await all_dead_letters(rabbitmq)

    assert letter.reason == "crashed its consumer 21 times, so RabbitMQ dead-lettered it"
    assert letter.attempts == topology.DELIVERY_LIMIT + 1
    assert letter.since is not None
    assert (letter.id, letter.subject) == ("evt_1", "thing_1")


async def test_a_message_that_is_not_an_event_has_an_id_and_can_be_dropped(
    rabbitmq: AbstractConnection, channel: AbstractChannel, audit: Audit
) -> None:
    await channel.default_exchange.publish(Message(b"\xff\xfe"), DEAD)
    (letter,) = await all_dead_letters(rabbitmq)
    assert letter.reason == "unknown: the message has no reason"
    assert letter.payload == "//4="
    await holds(channel, DEAD, 1)  # RabbitMQ requeues the fetched message a moment later

    dropped = await actions.act(
        rabbitmq,
        [SERVICE],
        frozenset({letter.id}),
        action=Action.DROP,
        why="noise",
        audit=audit,
        on_done=nobody,
    )

    assert dropped == {letter.id}
    await holds(channel, DEAD, 0)


async def test_an_operator_lists_replays_and_drops_dead_letters_of_the_system(
    system: System, channel: AbstractChannel
) -> None:
    """End to end on a running service: notifications cannot read this event."""
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
    assert replayed.errors == "✗ no dead letter evt_none (see `cartwheel dlq list`)\n"
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
def test_a_command_with_wrong_arguments_does_nothing(arguments: list[str]) -> None:
    assert CliRunner().invoke(dlq, arguments).exit_code == 2
