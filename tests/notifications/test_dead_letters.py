"""Operations learn of dead letters: once, until the queue was empty again."""

import asyncio
import secrets
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import aio_pika
import msgspec
import pytest
from aio_pika.abc import AbstractChannel

from cartwheel.contracts.notifications import DeadLettersFound, ListMail
from cartwheel.kernel import CloudEvent, DeadLetters
from cartwheel.kernel.lowlevel import Connection
from cartwheel.kernel.mongodb import Outboxes
from cartwheel.kernel.operating import topology
from cartwheel.local.up import System
from cartwheel.notifications.domain import DeadQueue, render_for_operations
from cartwheel.notifications.handlers.telling import tell_operations
from cartwheel.notifications.handlers.watching import watch_dead_letters
from cartwheel.notifications.mongo import MongoDeadQueues

from ..waiting import eventually
from .conftest import Notifications, Postbox
from .examples import AT, SHOP, now

SERVICE = "watched-by-tests"
DEAD = topology.dead_queue(SERVICE)
SOON, LATER = timedelta(seconds=30), timedelta(minutes=2)


class Watch(NamedTuple):
    """The dead letters of a service, and the replicas of notifications, which look at them."""

    channel: AbstractChannel
    replicas: list[DeadLetters]
    notifications: Notifications
    to: str

    @property
    def letters(self) -> DeadLetters:
        return self.replicas[0]

    @property
    def queues(self) -> MongoDeadQueues:
        return MongoDeadQueues(self.notifications.database, Outboxes())

    async def look(self, *services: str, after: timedelta = timedelta(), replica: int = 0) -> None:
        await watch_dead_letters(
            services=services or [SERVICE],
            letters=self.replicas[replica],
            queues=self.queues,
            now=lambda: AT + after,
        )

    async def dead_letter(self, id: str, *, total: int = 1) -> None:
        """Dead-letter an event as a consumer does, so that there are `total`."""
        message = aio_pika.Message(
            b"{}",
            message_id=id,
            headers={"reason": "by <zero>", "cloudEvents_type": "order.paid.v1"},
        )
        await self.channel.default_exchange.publish(message, DEAD)

        async def all_there() -> None:
            # One that was looked at is back a moment later.
            assert await self.letters.count(SERVICE) == total

        await eventually(all_there)

    async def drop_all(self) -> None:
        queue = await self.channel.get_queue(DEAD)

        async def dropped() -> None:
            await queue.purge()
            assert await self.letters.count(SERVICE) == 0

        await eventually(dropped)

    async def emitted(self) -> list[CloudEvent[DeadLettersFound]]:
        """Return the events that wait in the outbox, oldest first."""
        found = await self.notifications.database["dead_letters"].find_one({"_id": SERVICE})
        return [
            msgspec.convert(
                {**stored, "data": msgspec.json.decode(stored["data"])},
                CloudEvent[DeadLettersFound],
            )
            for stored in (found or {"outbox": []})["outbox"]
        ]

    async def tell(self) -> None:
        """Consume those events, as RabbitMQ delivers them."""
        notifications = self.notifications
        for event in await self.emitted():
            await tell_operations(
                event,
                to=self.to,
                shop=SHOP,
                mails=notifications.mails,
                sender=notifications.sender,
                now=now,
            )


@pytest.fixture
async def watch(system: System, notifications: Notifications) -> AsyncGenerator[Watch]:
    url = system.environment["RABBITMQ_URL"]
    connection = Connection(url, process="tests")
    replicas = [DeadLetters() for _ in range(3)]
    for each in replicas:
        connection.add(each)
    await connection.start()
    async with await aio_pika.connect(url) as aside, aside.channel() as channel:
        await topology.declare(channel, services=[SERVICE], events=[])
        watch = Watch(channel, replicas, notifications, f"{secrets.token_hex(8)}@example.com")
        await watch.drop_all()
        yield watch
    await connection.stop()


async def test_dead_letters_are_mailed_once_until_their_queue_was_empty(
    watch: Watch, postbox: Postbox
) -> None:
    await watch.look()
    assert await watch.emitted() == []
    await watch.dead_letter("evt_1")
    await watch.look()
    await watch.dead_letter("evt_2", total=2)
    await watch.look(after=timedelta(days=1))
    await watch.tell()
    await watch.tell()

    assert len(await postbox.of(watch.to)) == 1
    [mail] = (await watch.notifications.page(ListMail(limit=10, to=watch.to))).data
    assert mail.subject == f"Dead letters for {SERVICE}"
    assert (mail.reason, mail.status, mail.order_id) == ("dead_letters.found.v1", "SENT", "")
    for told in (f"1 event for {SERVICE}", "evt_1 (order.paid.v1)", "by <zero>"):
        assert told in mail.text

    await watch.drop_all()
    await watch.look(after=timedelta(days=2))
    await watch.look(after=timedelta(days=2) + LATER)
    await watch.dead_letter("evt_3")
    await watch.look(after=timedelta(days=3))
    await watch.tell()

    assert len(await postbox.of(watch.to)) == 2
    assert [event.data.first_id for event in await watch.emitted()] == ["evt_1", "evt_3"]


async def test_a_queue_that_is_empty_for_a_moment_is_no_news(watch: Watch) -> None:
    await watch.dead_letter("evt_1")
    await watch.look()

    for minutes in (1, 2, 3):
        await watch.drop_all()
        at = timedelta(minutes=minutes)
        await watch.look(after=at)
        await watch.look(after=at + SOON)
        await watch.dead_letter("evt_1")
        await watch.look(after=at + SOON)

    assert len(await watch.emitted()) == 1


async def test_replicas_that_look_at_once_report_once(watch: Watch) -> None:
    await watch.dead_letter("evt_1")

    await asyncio.gather(*(watch.look(replica=number) for number in range(3)))
    await watch.look()

    assert [event.data.count for event in await watch.emitted()] == [1]


async def test_a_queue_that_cannot_be_looked_at_does_not_hide_the_others(watch: Watch) -> None:
    await watch.dead_letter("evt_1")

    with pytest.raises(Exception, match="nobody"):
        await watch.look("nobody", SERVICE)

    assert len(await watch.emitted()) == 1


async def test_an_older_finding_never_replaces_a_newer_one(watch: Watch) -> None:
    """A replica that has stalled between its look and its write, for example."""
    old = DeadQueue(id=SERVICE)
    await watch.dead_letter("evt_1")
    await watch.look()
    [new] = (await watch.queues.of([SERVICE])).values()

    stale = msgspec.structs.replace(old, reported=False, version=1)
    assert not await watch.queues.save(stale, expected=old)

    assert (await watch.queues.of([SERVICE]))[SERVICE] == new
    assert new.reported


FOUND = DeadLettersFound(
    service="orders",
    count=3,
    first_id="evt_1",
    first_type="payment.captured.v1",
    reason="by <zero>",
    since=datetime(2026, 3, 1, 12, 30, 15, tzinfo=UTC),
)


@pytest.mark.parametrize("changes", [{}, {"count": 1, "first_type": None, "since": None}])
def test_the_mail_says_what_is_where_why_and_what_to_do(changes: dict[str, Any]) -> None:
    found = msgspec.structs.replace(FOUND, **changes)

    mail = render_for_operations(found, SHOP, to="operations@example.com")

    assert mail.subject == "Dead letters for orders"
    several = "3 events for orders" if found.count == 3 else "1 event for orders"
    for told in (several, "dead.orders", "evt_1"):
        assert told in mail.text
        assert told in mail.html
    for command in ("list --service orders", "show evt_1", "replay evt_1", "drop evt_1 --why"):
        assert f"cartwheel dlq {command}" in mail.text
        assert f"cartwheel dlq {command}" in mail.html
    assert ("2026-03-01 12:30:15 UTC" in mail.text) == (found.since is not None)
    assert ("(payment.captured.v1)" in mail.text) == (found.first_type is not None)
    assert "by <zero>" in mail.text
    assert "by &lt;zero&gt;" in mail.html
    assert "<zero>" not in mail.html
