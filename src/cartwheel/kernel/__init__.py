"""Build services that talk over RabbitMQ, store their data in MongoDB, and lose nothing.

A service is one value. It answers requests, handles events, and publishes events:

    @asynccontextmanager
    async def wire(settings: ServiceSettings, core: Core) -> AsyncGenerator[Wiring]:
        orders = MongoOrders(core.database, core.outboxes)
        yield Wiring(
            answers=[answer(PlaceOrder, place_order, orders=orders, bus=core.bus)],
            on=[on(PaymentCaptured, payment_captured, orders=orders)],
            jobs=[every(2.0, expire_orders, orders=orders)],
        )

    service = Service(
        name="orders",
        settings=ServiceSettings,
        events=(OrderPlaced, OrderPaid),
        collections=(Collection("orders", outbox=True),),
        migrations=(create_indexes,),
        wire=wire,
    )

    if __name__ == "__main__":
        service.run()

`docs/kernel.md` builds two services from scratch. Besides this package, these modules are public.
Names that begin with an underscore are private.

    errors       what can go wrong: refusals and outages
    settings     types of settings
    mongodb      for adapters that store data: aggregates, outboxes, pages, migrations
    http_client  for adapters that call another system over HTTP
    aws          for adapters that call AWS
    lowlevel     for processes that are not a `Service`, such as a gateway
    servers      checks whether a server that a setting names can be used
    operating    for the operators' commands: queues, dead letters, migrations
    testing      for tests and benchmarks

Names are loaded on first use (PEP 562), so that a command that needs one of them does not load the
drivers of MongoDB and RabbitMQ. `__init__.pyi` lists them.
"""

from typing import Any, cast

import lazy_loader

__getattr__, __dir__, __all__ = cast(
    "tuple[Any, Any, list[str]]", lazy_loader.attach_stub(__name__, __file__)
)
