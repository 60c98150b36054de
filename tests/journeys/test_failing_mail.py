"""SES failing on one customer's mail, on the running system; and sending it again by hand."""

import asyncio
import os
import pwd
from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import UTC, datetime, timedelta

import aio_pika
import msgspec
import pytest

from cartwheel.contracts.notifications import MailStatus, MailView
from cartwheel.kernel import mongodb, new_id
from cartwheel.kernel.mongodb import Client
from cartwheel.kernel.operating import topology, wire
from cartwheel.local.up import System
from cartwheel.notifications.domain import Told
from cartwheel.operations.dead_letters.queue import as_published

from ..notifications.examples import failed, paid, snapshot
from ..scripted_ses import FAILS, Answer, ScriptedSes, scripted_ses
from ..waiting import eventually
from .command_line import cartwheel

SERVICE = "notifications"
ORDERS, DECLINES = 24, 3

Publish = Callable[[Told], Awaitable[str]]
"""Publishes an event and returns its id."""


@pytest.fixture(scope="module")
async def ses(system: System) -> AsyncGenerator[ScriptedSes]:
    """A scripted SES that the running notifications use until the end of these tests."""
    async with scripted_ses() as scripted:
        await system.supervisor.stop(SERVICE)
        system.supervisor.next_time(SERVICE, {"AWS_ENDPOINT_URL": scripted.url})
        await system.supervisor.start(SERVICE)
        yield scripted
        await system.supervisor.stop(SERVICE)
        await system.supervisor.start(SERVICE)


@pytest.fixture
async def publish(system: System, client: Client) -> AsyncGenerator[Publish]:
    """Publishes events about nonexistent orders to notifications only."""
    told: list[str] = []
    async with (
        await aio_pika.connect(system.environment["RABBITMQ_URL"]) as connection,
        connection.channel() as channel,
    ):

        async def to_notifications(data: Told) -> str:
            event = wire.StoredEvent(
                id=new_id("evt"),
                type=data.type,
                source="orders",
                subject=data.order.id,
                sequence=2,
                time=datetime.now(UTC),
                data=wire.encode(data).decode(),
            )
            told.append(event.id)
            queue = topology.event_queue(SERVICE)
            await channel.default_exchange.publish(as_published(wire.write_event(event)), queue)
            return event.id

        yield to_notifications
    # Otherwise `cartwheel verify` would report their missing orders.
    await mongodb.database(client, SERVICE)["mail"].delete_many({"_id": {"$in": told}})


async def mail_is(client: Client, mail_id: str, status: MailStatus) -> mongodb.Document:
    async def look() -> mongodb.Document:
        found = await mongodb.database(client, SERVICE)["mail"].find_one({"_id": mail_id})
        assert found is not None
        assert found["status"] == status
        return found

    return await eventually(look, within=30)


async def test_one_customers_failing_mails_do_not_delay_others(
    publish: Publish, ses: ScriptedSes
) -> None:
    """72 are more than the consumer's prefetch."""
    unlucky, lucky = snapshot(), snapshot()
    ses.script[unlucky.user.email] = FAILS
    declines = [
        failed(msgspec.structs.replace(unlucky, id=new_id("ord")), attempts_left=left)
        for _ in range(ORDERS)
        for left in range(DECLINES)
    ]
    await asyncio.gather(*(publish(decline) for decline in declines))

    for number in range(1, 4):
        await publish(paid(lucky))

        async def arrived(number: int = number) -> None:
            assert ses.taken.count(lucky.user.email) == number

        await eventually(arrived)
    assert ses.asked[unlucky.user.email] >= ORDERS * DECLINES

    ses.script.clear()

    async def all_sent() -> None:
        assert ses.taken.count(unlucky.user.email) == ORDERS * DECLINES

    await eventually(all_sent, within=90)


async def test_a_mail_that_failed_for_ten_minutes_is_dead_lettered_and_may_be_replayed(
    system: System, publish: Publish, ses: ScriptedSes, client: Client
) -> None:
    order = snapshot()
    ses.script[order.user.email] = FAILS
    mail_id = await publish(paid(order))
    mail = mongodb.database(client, SERVICE)["mail"]

    async def failed_once() -> None:
        assert await mail.find_one({"_id": mail_id, "failures": 1})

    await eventually(failed_once)
    ten_minutes_ago = datetime.now(UTC) - timedelta(minutes=10)
    await mail.update_one(
        {"_id": mail_id}, {"$set": {"failures": 5, "first_failed_at": ten_minutes_ago}}
    )

    await mail_is(client, mail_id, MailStatus.FAILED)
    shown = await cartwheel(system, "dlq", "show", mail_id, "--json")
    [dead] = msgspec.json.decode(shown.output)
    assert "SES failed on this mail 6 times since" in dead["reason"]
    ses.script.clear()
    replayed = await cartwheel(system, "dlq", "replay", mail_id)

    assert replayed.status == 0, replayed.errors
    await mail_is(client, mail_id, MailStatus.SENT)
    assert ses.taken.count(order.user.email) == 1


async def test_the_command_line_resends_failed_mails_and_gives_reasons_for_the_others(
    system: System, publish: Publish, ses: ScriptedSes, client: Client
) -> None:
    orders = [snapshot() for _ in range(4)]
    refused = [order.user.email for order in orders[:3]]
    ses.script = dict.fromkeys(refused, Answer(400, "MessageRejected", "Address blacklisted"))
    *failing, sent = [await publish(paid(order)) for order in orders]
    for mail_id in failing:
        await mail_is(client, mail_id, MailStatus.FAILED)
    await mail_is(client, sent, MailStatus.SENT)
    for address in refused[1:]:
        del ses.script[address]

    ran = await cartwheel(
        system, "mail", "resend", failing[0], "evt_unknown", sent, *failing[1:], failing[1]
    )

    assert ran.status == 1
    refusal, unknown, not_failed, summary = ran.errors.splitlines()
    assert f"{failing[0]}: SES did not accept the mail (MessageRejected)." in refusal
    assert "There is no mail evt_unknown." in unknown
    assert f"Mail {sent} is SENT." in not_failed
    assert "2 of 5 sent" in summary
    assert [line.split(":")[0] for line in ran.output.splitlines()] == [
        f"✓ {mail_id}" for mail_id in failing[1:]
    ]
    listed = await cartwheel(system, "mail", "--json", "--to", refused[1])
    [mail] = msgspec.json.decode(listed.output, type=list[MailView])
    assert (mail.status, [resend.by.split("@")[0] for resend in mail.resends]) == (
        MailStatus.SENT,
        [pwd.getpwuid(os.getuid()).pw_name],
    )
    assert [ses.taken.count(address) for address in refused] == [0, 1, 1]

    ses.script.clear()
    ran = await cartwheel(system, "mail", "resend", failing[0])

    assert (ran.status, ran.errors) == (0, "")
    assert ran.output.strip() == f"✓ {failing[0]}: sent to {refused[0]}"
