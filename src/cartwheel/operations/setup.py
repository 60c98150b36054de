"""`cartwheel setup`: queues, exchanges, indexes and migrations, before any process starts."""

import aio_pika
import msgspec

from cartwheel.contracts import catalogue
from cartwheel.kernel.bus import topology
from cartwheel.kernel.servers import check_mongodb, check_rabbitmq
from cartwheel.kernel.settings import AmqpClient, AmqpUrl, DatabasePrefix, MongodbUri
from cartwheel.kernel.store import client as mongodb
from cartwheel.kernel.store import migrations
from cartwheel.notifications.mongo import MIGRATIONS as NOTIFICATIONS
from cartwheel.orders.mongo import MIGRATIONS as ORDERS
from cartwheel.payments.mongo import MIGRATIONS as PAYMENTS
from cartwheel.products.mongo.schema import MIGRATIONS as PRODUCTS

DATABASES = {
    "products": PRODUCTS,
    "orders": ORDERS,
    "payments": PAYMENTS,
    "notifications": NOTIFICATIONS,
}


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
        await aio_pika.connect(settings.rabbitmq_url, timeout=10) as connection,
        connection.channel() as channel,
    ):
        await topology.declare(channel, services=catalogue.SERVICES, events=catalogue.EVENTS)
    prefix = settings.mongodb_database_prefix
    async with mongodb.connect(
        settings.mongodb_uri, process="setup", prefix=prefix, timeout=None
    ) as client:
        return {
            name: await migrations.apply(mongodb.database(client, name, prefix), steps)
            for name, steps in DATABASES.items()
        }
