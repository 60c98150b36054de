"""Replaying and dropping dead letters: none is lost, wherever the tool is interrupted."""

import asyncio
import sys

import pytest
from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractChannel, AbstractConnection
from aiormq.exceptions import PublishError

from cartwheel.kernel.mongodb import Database
from cartwheel.kernel.operating import wire
from cartwheel.local.up import System
from cartwheel.operations.dead_letters import actions
from cartwheel.operations.dead_letters.audit import Action, Audit, Line
from cartwheel.operations.dead_letters.queue import as_published

from ..kernel.messages import headers_of
from ..waiting import eventually
from . import replaying
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
    ids_in,
    nobody,
    replay,
)


async def test_a_replay_resets_the_attempts_and_counts_the_replays(
    rabbitmq: AbstractConnection, channel: AbstractChannel, audit: Audit
) -> None:
    await dead_letter(channel, 1, 2, replayed=1)

    await replay(rabbitmq, audit, "evt_1")

    message = await (await channel.get_queue(EVENTS)).get()
    await message.ack()
    assert message is not None
    original = as_published(wire.write_event(happened(1)))
    headers = {name: each for name, each in message.headers.items() if name[:2] != "x-"}
    assert headers == {**original.headers, "replayed": 2}
    assert (message.body, message.message_id) == (original.body, "evt_1")
    assert message.delivery_mode == DeliveryMode.PERSISTENT
    await holds(channel, DEAD, 1)


async def test_one_run_replays_an_event_that_is_dead_lettered_again_only_once(
    system: System, rabbitmq: AbstractConnection, channel: AbstractChannel, audit: Audit
) -> None:
    unreadable = Message(b"no json", headers=headers_of(happened(1)))
    for _ in range(3):
        await channel.default_exchange.publish(unreadable, DEAD)
    lines: list[Line] = []
    async with consuming(system.environment["RABBITMQ_URL"], []):
        replayed = await actions.replay_all(
            rabbitmq, [SERVICE], rate=5, audit=audit, on_done=lines.append
        )
        await holds(channel, DEAD, 3)

    assert replayed == len(lines) == 3
    assert [each.replayed for each in await all_dead_letters(rabbitmq)] == [1, 1, 1]


async def test_replaying_all_keeps_to_its_rate(
    rabbitmq: AbstractConnection, channel: AbstractChannel, audit: Audit
) -> None:
    await dead_letter(channel, *range(30))
    began = asyncio.get_running_loop().time()

    await actions.replay_all(rabbitmq, [SERVICE], rate=20, audit=audit, on_done=nobody)

    assert 1.2 < asyncio.get_running_loop().time() - began < 5
    await holds(channel, EVENTS, 30)
    assert await count(channel, DEAD) == 0


async def test_an_event_that_rabbitmq_refuses_stays_dead_lettered(
    rabbitmq: AbstractConnection, channel: AbstractChannel, audit: Audit
) -> None:
    await dead_letter(channel, 1)
    await channel.queue_delete(EVENTS)

    with pytest.raises(PublishError):
        await replay(rabbitmq, audit, "evt_1")

    await holds(channel, DEAD, 1)
    (line,) = [line async for line in audit.newest(0)]
    assert not line.done


async def test_killing_the_tool_while_it_replays_loses_nothing(
    system: System, channel: AbstractChannel, database: Database
) -> None:
    await dead_letter(channel, *range(400))
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
        replayed, dead = await count(channel, EVENTS), await count(channel, DEAD)
        assert replayed + dead >= 400
        assert 100 <= replayed < 400
        return await ids_in(channel, EVENTS) | await ids_in(channel, DEAD)

    assert len(await eventually(all_there)) == 400


class Interrupted(Exception):
    """The tool dies at this point."""


class DiesBeforeFinishing(Audit):
    async def finish(self, lines: object) -> list[Line]:
        raise Interrupted


async def test_every_action_has_an_audit_line(
    rabbitmq: AbstractConnection, channel: AbstractChannel, database: Database
) -> None:
    await dead_letter(channel, 1)
    with pytest.raises(Interrupted):
        await replay(rabbitmq, DiesBeforeFinishing(database), "evt_1")

    (line,) = [line async for line in Audit(database).newest(0)]
    assert (line.event_id, line.action, line.done) == ("evt_1", Action.REPLAY, False)


async def test_the_audit_keeps_dropped_messages(
    rabbitmq: AbstractConnection, channel: AbstractChannel, audit: Audit
) -> None:
    await dead_letter(channel, 5)
    told: list[Line] = []
    await actions.act(
        rabbitmq,
        [SERVICE],
        frozenset({"evt_5"}),
        action=Action.DROP,
        why="a test",
        audit=audit,
        on_done=told.append,
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
