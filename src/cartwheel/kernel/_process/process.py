"""Every process starts and stops the same way.

Start: read the settings (or report the bad ones), set up logging, wait for MongoDB and RabbitMQ,
start working, report READY=1 to the supervisor. Stop (SIGTERM, Ctrl-C): report unready, and go on
working for DRAIN_SECONDS. Then take nothing new, requeue what has not begun, finish the rest within
6 s, publish its events, and close the connections last.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

import msgspec
import pymongo
from pymongo.errors import PyMongoError

from cartwheel.kernel._bus.connection import Connection
from cartwheel.kernel._bus.consuming import Consumer, On, Probe
from cartwheel.kernel._bus.publishing import Publisher
from cartwheel.kernel._bus.rpc_client import RpcClient
from cartwheel.kernel._bus.rpc_server import Answers, RpcServer
from cartwheel.kernel._core import telemetry
from cartwheel.kernel._core.messages import Event
from cartwheel.kernel._core.outages import is_outage
from cartwheel.kernel._core.telemetry import log
from cartwheel.kernel._process.notify import notify
from cartwheel.kernel._process.running import Stop, unless_stopped
from cartwheel.kernel._store import client as mongodb
from cartwheel.kernel._store import migrations as schema
from cartwheel.kernel._store.outbox import Outboxes
from cartwheel.kernel._store.relay import Relay
from cartwheel.kernel.servers import Unusable, why
from cartwheel.kernel.settings import DatabaseAddress, ServiceSettings

FINISH_WITHIN_SECONDS = 6.0
"""Seconds that work in progress may take after SIGTERM and the drain."""


class Job(msgspec.Struct, frozen=True):
    """Something that runs repeatedly in the background, with pauses of `every` seconds."""

    run: Callable[[], Awaitable[object]]
    every: float


class Core(msgspec.Struct, frozen=True, kw_only=True):
    """What a service builds on: its database, its connections, and the signal to stop."""

    process: str
    address: DatabaseAddress
    client: mongodb.Client
    database: mongodb.Database
    connection: Connection
    bus: RpcClient
    outboxes: Outboxes
    stop: Stop


@contextlib.asynccontextmanager
async def core(process: str, settings: ServiceSettings, stop: Stop) -> AsyncGenerator[Core]:
    """Yield the core of the service `process`."""
    address = settings.databases.by_service[process]
    client = mongodb.connect(
        address.uri,
        variable=address.variable,
        process=process,
        prefix=settings.mongodb_database_prefix,
    )
    database = mongodb.database(client, address.name)
    connection = Connection(settings.rabbitmq_url, process=process, client=settings.amqp_client)
    bus = RpcClient()
    connection.add(bus)
    try:
        yield Core(
            process=process,
            address=address,
            client=client,
            database=database,
            connection=connection,
            bus=bus,
            outboxes=Outboxes(),
            stop=stop,
        )
    finally:
        await connection.stop()
        await client.close()


async def serve(
    built_on: Core,
    *,
    migrations: Sequence[schema.Migration],
    answers: Sequence[Answers],
    on: Sequence[On],
    publishes_from: Sequence[str],
    events: Sequence[type[Event]],
    jobs: Sequence[Job] = (),
    probe: Probe | None = None,
    drain_seconds: float = 0,
) -> None:
    """Do a service's work until it is told to stop; then drain, and finish work in progress.

    `publishes_from` names the collections with an outbox, and `events` the events in them. During
    an outage, consumers ping the database and call `probe` to learn that all dependencies are back.
    """

    async def probe_all() -> None:
        await built_on.client.admin.command("ping")
        if probe is not None:
            await probe()

    answerer = RpcServer(built_on.process, answers)
    consumer = Consumer(built_on.process, on, probe=probe_all)
    publisher = Publisher(frozenset(event.type for event in events if event.consumers))
    relay = Relay(built_on.database, publishes_from, publisher, built_on.outboxes)
    for use in (publisher, answerer, *([consumer] if on else [])):
        built_on.connection.add(use)

    async def begin() -> None:
        await _wait_for_database(built_on, migrations)
        await built_on.connection.start()

    if not await unless_stopped(begin(), built_on.stop):
        return
    relay.start()
    running = [asyncio.create_task(repeat(job)) for job in jobs]
    notify("READY=1")
    log.info("ready")
    await built_on.stop.wait()

    notify("STOPPING=1")
    log.info("stopping", drain_seconds=drain_seconds)
    await built_on.stop.drained(drain_seconds)
    for job in running:
        job.cancel()
    try:
        async with asyncio.timeout(FINISH_WITHIN_SECONDS):
            await asyncio.gather(answerer.drain(), consumer.drain())
    except TimeoutError:
        log.warning("work was not finished in time")
    await relay.stop()


async def _wait_for_database(built_on: Core, migrations: Sequence[schema.Migration]) -> None:
    while True:
        try:
            with pymongo.timeout(mongodb.SERVER_SELECTION_TIMEOUT_SECONDS):
                await schema.check(built_on.database, migrations)
            return
        except Exception as error:
            reason = why(built_on.address.variable, built_on.address.uri, error)
            if isinstance(error, PyMongoError) and not is_outage(error):
                raise Unusable(reason) from error
            if not is_outage(error):
                raise
            log.warning("waiting for MongoDB", error=reason)
            log.debug("waiting for MongoDB", detail=repr(error))
            await asyncio.sleep(1)


async def repeat(job: Job) -> None:
    """Run `job` again and again. An error that repeats is logged once."""
    told = ""
    while True:
        await asyncio.sleep(job.every)
        telemetry.continue_trace(None)
        try:
            await job.run()
        except Exception as error:
            # Compare the beginning only: the driver's messages end with times and addresses.
            same = f"{type(error).__name__}: {error}"[:60]
            if same == told:
                continue
            told = same
            if is_outage(error):
                log.warning("job waits for a dependency", error=repr(error))
            else:
                log.exception("job failed")
        else:
            told = ""
