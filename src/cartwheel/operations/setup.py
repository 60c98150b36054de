"""`cartwheel setup`: queues, exchanges, indexes and migrations, before any process starts."""

import msgspec

from cartwheel.kernel import mongodb
from cartwheel.kernel.operating import apply_migrations, connect_any, topology
from cartwheel.kernel.servers import check_mongodb, check_rabbitmq
from cartwheel.kernel.settings import AmqpClient, AmqpUrl, DatabaseAddresses, DatabasePrefix
from cartwheel.services import SERVICES, events, services


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    databases: DatabaseAddresses
    mongodb_database_prefix: DatabasePrefix = ""
    rabbitmq_url: AmqpUrl
    amqp_client: AmqpClient = "built-in"


async def setup(settings: Settings) -> dict[str, int]:
    """Declare and migrate everything; return how many migrations ran, by service. Repeatable.

    Raises:
        Unusable: RabbitMQ or MongoDB does not take part; nothing is done then.
    """
    await check_rabbitmq(settings.rabbitmq_url, settings.amqp_client)
    for each in settings.databases.distinct():
        await check_mongodb(each.uri, each.variable)
    async with (
        await connect_any(settings.rabbitmq_url) as connection,
        connection.channel() as channel,
    ):
        await topology.declare(channel, services=SERVICES, events=events())
    async with mongodb.opened(
        settings.databases,
        process="setup",
        prefix=settings.mongodb_database_prefix,
        timeout=None,
    ) as databases:
        return {
            each.name: await apply_migrations(databases[each.name], each.migrations)
            for each in services()
        }
