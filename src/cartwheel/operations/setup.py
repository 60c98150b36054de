"""`cartwheel setup`: queues, exchanges, indexes and migrations, before any process starts."""

import msgspec

from cartwheel.kernel import mongodb
from cartwheel.kernel.operating import apply_migrations, connect_any, topology
from cartwheel.kernel.servers import check_mongodb, check_rabbitmq
from cartwheel.kernel.settings import AmqpClient, AmqpUrl, DatabasePrefix, MongodbUri
from cartwheel.services import SERVICES, events, services


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    mongodb_uri: MongodbUri
    mongodb_database_prefix: DatabasePrefix = ""
    rabbitmq_url: AmqpUrl
    amqp_client: AmqpClient = "built-in"


async def setup(settings: Settings) -> dict[str, int]:
    """Declare and migrate everything; return how many migrations ran, by database. Repeatable.

    Raises:
        Unusable: RabbitMQ or MongoDB does not take part; nothing is done then.
    """
    await check_rabbitmq(settings.rabbitmq_url, settings.amqp_client)
    await check_mongodb(settings.mongodb_uri)
    async with (
        await connect_any(settings.rabbitmq_url) as connection,
        connection.channel() as channel,
    ):
        await topology.declare(channel, services=SERVICES, events=events())
    prefix = settings.mongodb_database_prefix
    async with mongodb.connect(
        settings.mongodb_uri, process="setup", prefix=prefix, timeout=None
    ) as client:
        return {
            each.name: await apply_migrations(
                mongodb.database(client, each.name, prefix), each.migrations
            )
            for each in services()
        }
