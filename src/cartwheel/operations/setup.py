"""`cartwheel setup`: queues, exchanges, indexes and migrations, before any process starts.

On a RabbitMQ cluster it also maintains the members of the queues. A dry run only reports what
would be done.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager

import msgspec
from aio_pika.abc import AbstractConnection
from aiormq.exceptions import ChannelPreconditionFailed

from cartwheel.gateway import windows
from cartwheel.kernel import mongodb
from cartwheel.kernel.operating import apply_migrations, connect_any, pending, topology
from cartwheel.kernel.servers import check_mongodb, check_rabbitmq
from cartwheel.kernel.settings import AmqpClient, DatabaseAddresses, DatabasePrefix
from cartwheel.operations import declared
from cartwheel.operations.declared import Older, delete_older
from cartwheel.operations.quorum import reaching
from cartwheel.operations.quorum.reaching import Brokers, ClusterSettings
from cartwheel.operations.quorum.tending import Tended
from cartwheel.services import GATEWAY, SERVICES, events, services


class Settings(ClusterSettings, frozen=True, kw_only=True):
    databases: DatabaseAddresses
    mongodb_database_prefix: DatabasePrefix = ""
    amqp_client: AmqpClient = "built-in"


class Outcome(msgspec.Struct, frozen=True):
    """What was done or, in a dry run, would be done.

    It has the number of migrations per database, the changes to the queues' members, and the queues
    of the previous version. `missing` is what a dry run would declare, `unseen` what it cannot see.
    """

    migrations: dict[str, int]
    queues: Tended
    older: Older
    missing: tuple[str, ...] = ()
    unseen: str = ""


async def setup(
    settings: Settings,
    *,
    dry_run: bool = False,
    drop_older: bool = False,
    doing: Callable[[str], AbstractContextManager[object]],
) -> Outcome:
    """Declare and migrate everything, and maintain the queues' members. Repeatable.

    Args:
        dry_run: only report what would be done.
        drop_older: delete the queues that only the previous version uses, even those in use.
        doing: shows a text while a step runs.

    Raises:
        Unusable: RabbitMQ, its management API or MongoDB cannot be used, and nothing is done; or a
            queue exists with other arguments, and the remaining steps are not done.
    """
    await check_rabbitmq(settings.rabbitmq_url, settings.amqp_client)
    for each in settings.databases.distinct():
        await check_mongodb(each.uri, each.variable)
    async with reaching.reach(settings) as brokers:
        async with await connect_any(settings.rabbitmq_url) as connection:
            missing = await _declare(connection, brokers, dry_run=dry_run)
            older = await delete_older(connection, SERVICES, used_too=drop_older, dry_run=dry_run)
        migrations = await _migrate(settings, dry_run=dry_run)
        queues = await brokers.tend(dry_run=dry_run, doing=doing)
    unseen = _UNSEEN if dry_run and not brokers.has_api else ""
    return Outcome(migrations, queues, older, missing, unseen)


_UNSEEN = "bindings cannot be seen without RABBITMQ_MANAGEMENT_URL"


async def _declare(
    connection: AbstractConnection, brokers: Brokers, *, dry_run: bool
) -> tuple[str, ...]:
    try:
        async with connection.channel() as channel:
            underlay = await channel.get_underlay_channel()
            await brokers.check_name(str(underlay.connection.server_properties["cluster_name"]))
            if not dry_run:
                await topology.declare(channel, services=SERVICES, events=events())
        return await _missing(connection, brokers) if dry_run else ()
    except ChannelPreconditionFailed as error:
        raise declared.otherwise(error) from error


async def _missing(connection: AbstractConnection, brokers: Brokers) -> tuple[str, ...]:
    things = await declared.missing(connection, SERVICES)
    is_new = f"exchange {topology.EXCHANGE}" in things
    bound = set[tuple[str, str]]() if is_new else await brokers.bindings()
    if bound is None:
        return tuple(things)
    unbound = [each for each in topology.bindings(SERVICES, events()) if each not in bound]
    return (*things, *(f"binding of {key} to {queue}" for queue, key in unbound))


async def _migrate(settings: Settings, *, dry_run: bool) -> dict[str, int]:
    step = pending if dry_run else apply_migrations
    async with mongodb.opened(
        settings.databases,
        process="setup",
        prefix=settings.mongodb_database_prefix,
        timeout=None,
    ) as databases:
        migrations = {each.name: each.migrations for each in services()}
        migrations[GATEWAY] = windows.MIGRATIONS
        return {name: await step(databases[name], each) for name, each in migrations.items()}
