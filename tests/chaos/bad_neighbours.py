"""One item of many fails for as long as the fault lasts, and the others must not be affected.

That can be seen only during the fault, because delayed work is done after everything is healed.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import aio_pika
import msgspec
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from pymongo.asynchronous.collection import AsyncCollection

from cartwheel.kernel import mongodb, new_id
from cartwheel.kernel.operating import topology, wire
from cartwheel.notifications.app import LOOK_FOR_DEAD_LETTERS_SECONDS
from cartwheel.operations.dead_letters.queue import as_published
from cartwheel.payments.handlers.reconciling import UNDECIDED_AFTER

from ..alarms import delivery_limit, rabbitmq_full
from ..journeys.command_line import cartwheel
from ..scripted_ses import FAILS, Answer
from ..waiting import eventually
from .faults import Fault, Harm, NotNow, behave, spoil
from .rig import Rig

Result = TypeVar("Result")

DEATHS = 4
"""Crashes of the consumer until RabbitMQ dead-letters the event. 21 would take minutes."""

DEAD_WITHIN = 120.0
"""Seconds. A process that dies often is restarted only after 15 s."""

SETTLED = 3.0
"""Seconds after which RabbitMQ has written its declarations to disk (docs/operations.md)."""

SOON = timedelta(seconds=20)
"""A job runs every few seconds, and the machine is busy."""


def event_kills_its_reader(service: str) -> Fault:
    """Only this event is dead-lettered. It is replayed when the cause is gone."""

    async def run(rig: Rig) -> None:
        async with _channel(rig) as channel:
            queue = topology.event_queue(service)
            await _soon(lambda: _holds(channel, queue, most=0))
            async with delivery_limit(rig.supervisor, queue, DEATHS - 1):
                killer = await _make_deadly(rig, channel, service)
                with contextlib.suppress(AssertionError):
                    await eventually(
                        lambda: _holds(channel, topology.dead_queue(service), least=1),
                        within=DEAD_WITHIN,
                    )
                rig.mischief.end(killer)
        dead = await _dead_letters(rig, service)
        if killer in dead:
            replayed = await cartwheel(rig.system, "dlq", "replay", killer)
            assert replayed.status == 0, replayed.errors
        if dead != [killer]:
            raise Harm(6, f"{killer} crashed {service} {DEATHS} times; dead-lettered: {dead}")

    return Fault(f"an event crashes {service} whenever it is read", run)


def retries_are_refused(service: str, seconds: float, *, full: bool) -> Fault:
    """All events of a service fail, and RabbitMQ refuses the copies for the retry queue.

    Either RabbitMQ is full, or that queue is missing.
    """

    async def run(rig: Rig) -> None:
        async with contextlib.AsyncExitStack() as stack:
            if full:
                await stack.enter_async_context(rabbitmq_full(rig.supervisor))
            else:
                await stack.enter_async_context(_missing(rig, topology.retry_queue(service, 5)))
            rig.mischief.begin(service)
            await asyncio.sleep(seconds)
            rig.mischief.end(service)

    why = "RabbitMQ is full" if full else "their retry queue is missing"
    return Fault(f"events of {service} fail for {seconds:.1f} s while {why}", run)


def one_payment_fails() -> Fault:
    """The provider always fails to cancel one payment, and to refund another."""

    async def run(rig: Rig) -> None:
        await behave(rig)
        async with mongodb.connect(rig.system.environment["MONGODB_URI"], process="tests") as to:
            payments = to["payments"]["payments"]
            began = datetime.now(UTC)
            await spoil(rig, kind="drop", count=10)
            undecided: dict[str, Any] = {"method": "card", "status": "AWAITING_PAYMENT"}
            refunded: dict[str, Any] = {"refunds.status": "PENDING"}
            failing = [
                await _lastingly(rig, payments, refunded, on="refund"),
                await _lastingly(rig, payments, undecided, on="cancel"),
            ]
            await asyncio.sleep((UNDECIDED_AFTER + SOON).total_seconds())
            others = {"_id": {"$nin": failing}, "retry": None}
            since = {"$gt": began, "$lt": datetime.now(UTC) - SOON}
            long_ago = {"$gt": began, "$lt": datetime.now(UTC) - SOON - UNDECIDED_AFTER}
            held_up = [
                payment["_id"]
                async for payment in payments.find(
                    {
                        "$or": [
                            {**refunded, **others, "updated_at": since},
                            {**undecided, **others, "updated_at": long_ago},
                        ]
                    },
                    {"_id": 1},
                )
            ]
        await behave(rig)
        if held_up:
            raise Harm(3, f"while {failing} failed, {held_up} had to wait")

    return Fault("the provider fails on one payment at every attempt", run)


def most_mail_fails(seconds: float) -> Fault:
    """SES is up, but fails on all mail except that to one customer."""

    async def run(rig: Rig) -> None:
        async with mongodb.connect(rig.system.environment["MONGODB_URI"], process="tests") as to:
            mail = to["notifications"]["mail"]
            spared, *others = sorted(await mail.distinct("to"))
            rig.ses.script = dict.fromkeys(others, FAILS)
            await asyncio.sleep(seconds)
            late = datetime.now(UTC) - SOON / 2
            sent = await mail.count_documents({"to": spared, "sent_at": {"$gt": late}})
            waiting = await to["orders"]["orders"].count_documents(
                {"user.email": spared, "status": "PAID", "updated_at": {"$gt": late}}
            )
            rig.ses.recover()
        if waiting and not sent:
            raise Harm(7, f"SES failed on mail to {others}, but {spared} got none either")

    return Fault(f"SES fails on most mail for {seconds:.0f} s, but not on one customer's", run)


def mail_is_refused(seconds: float) -> Fault:
    """SES refuses all mail to one customer, and somebody has it sent again afterwards."""

    async def run(rig: Rig) -> None:
        async with mongodb.connect(rig.system.environment["MONGODB_URI"], process="tests") as to:
            mail = to["notifications"]["mail"]
            refused = min(await mail.distinct("to"))
            rig.ses.script = {refused: Answer(400, "MessageRejected", "Address blacklisted")}
            await asyncio.sleep(seconds)
            rig.ses.recover()
            await _soon(lambda: _none_is_sent_to(mail, refused))
            failed = [each["_id"] async for each in mail.find({"status": "FAILED"}, {"_id": 1})]
        if not failed:
            raise NotNow("no mail was due")
        resent = await cartwheel(rig.system, "mail", "resend", *failed)
        if resent.status != 0:
            raise Harm(7, f"{failed} were refused, and sent again: {resent.errors[-500:]}")

    return Fault(f"SES refuses mail to one customer for {seconds:.1f} s", run)


def a_dead_letter_waits(service: str) -> Fault:
    """An event cannot be read, and nobody handles it for a while: operations are told once."""

    async def run(rig: Rig) -> None:
        poison = new_id("evt")
        async with (
            _channel(rig) as channel,
            mongodb.connect(rig.system.environment["MONGODB_URI"], process="tests") as to,
        ):
            unreadable = aio_pika.Message(b"poison", message_id=poison)
            await channel.default_exchange.publish(unreadable, topology.event_queue(service))
            await _soon(lambda: _holds(channel, topology.dead_queue(service), least=1))
            queues, mail = to["notifications"]["dead_letters"], to["notifications"]["mail"]

            async def reported() -> None:
                assert await queues.count_documents({"_id": service, "reported": True})

            try:
                await eventually(reported, within=DEAD_WITHIN)
            except AssertionError:
                raise Harm(6, f"nobody is told of what is dead-lettered for {service}") from None
            await asyncio.sleep(2.5 * LOOK_FOR_DEAD_LETTERS_SECONDS)
            told = await mail.count_documents({"text": {"$regex": poison}})
        dropped = await cartwheel(rig.system, "dlq", "drop", poison, "--why", "a fault")
        assert dropped.status == 0, dropped.errors
        if told > 1:
            raise Harm(7, f"{told} mails tell of the dead letter {poison}")

    return Fault(f"an event for {service} cannot be read, and is left there", run)


async def _soon(check: Callable[[], Awaitable[Result]]) -> Result:
    try:
        return await eventually(check, within=30)
    except AssertionError as error:
        raise NotNow(str(error)) from None


async def _none_is_sent_to(mail: AsyncCollection[mongodb.Document], recipient: str) -> None:
    assert not await mail.count_documents({"to": recipient, "status": "SENDING"})


@contextlib.asynccontextmanager
async def _channel(rig: Rig) -> AsyncGenerator[AbstractChannel]:
    async with (
        await aio_pika.connect(rig.system.environment["RABBITMQ_URL"]) as connection,
        connection.channel() as channel,
    ):
        yield channel


async def _make_deadly(rig: Rig, channel: AbstractChannel, service: str) -> str:
    """Make an event that is on its way to `service` crash its consumer; return its id."""
    queue = await channel.get_queue(topology.event_queue(service), ensure=False)
    await channel.set_qos(prefetch_count=1)
    taken: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()
    tag = await queue.consume(taken.put)
    try:
        async with asyncio.timeout(20):
            message = await taken.get()
    except TimeoutError:
        raise NotNow(f"no event came to {service}") from None
    finally:
        await queue.cancel(tag)
    killer = str(message.message_id)
    rig.mischief.begin(killer)
    # Without RabbitMQ's own headers, which would count as a client's.
    headers = {name: value for name, value in message.headers.items() if name[:2] != "x-"}
    await channel.default_exchange.publish(as_published(wire.copy_of(message, headers)), queue.name)
    await message.ack()
    return killer


async def _holds(
    channel: AbstractChannel, queue: str, *, least: int = 0, most: int = 10**9
) -> None:
    declared = await channel.declare_queue(queue, passive=True)
    count = declared.declaration_result.message_count or 0
    assert least <= count <= most, f"{queue} holds {count}"


async def _dead_letters(rig: Rig, service: str) -> list[str]:
    """Return the ids of the service's dead-lettered events."""
    listed = await cartwheel(rig.system, "dlq", "list", "--service", service, "--json")
    assert listed.status == 0, listed.errors
    return [letter["id"] for letter in msgspec.json.decode(listed.output)]


@contextlib.asynccontextmanager
async def _missing(rig: Rig, queue: str) -> AsyncGenerator[None]:
    """Delete `queue`, which must be empty, for as long as the body runs."""
    async with _channel(rig) as channel:
        await _soon(lambda: _holds(channel, queue, most=0))
        await channel.queue_delete(queue)
    yield
    declared = await cartwheel(rig.system, "setup")
    assert declared.status == 0, declared.errors
    await asyncio.sleep(SETTLED)


async def _lastingly(
    rig: Rig, payments: AsyncCollection[mongodb.Document], query: dict[str, Any], *, on: str
) -> str:
    """Make the provider fail the step `on` of one matching payment; return the payment's id."""

    async def look() -> str:
        found = await payments.find_one(query, {"_id": 1})
        assert found is not None, f"no payment has to {on}"
        return found["_id"]

    payment_id = await _soon(look)
    await spoil(rig, kind="error", on=on, payment_id=payment_id, count=None)
    return payment_id
