"""Build services that talk over RabbitMQ, store in MongoDB, and lose nothing.

A service is one value. It answers requests, handles events, and publishes its own:

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

`docs/kernel.md` builds two services from nothing. Beside this front door there are others, each
for its own readers. What begins with an underscore is private.

    errors       what may go wrong: refusals and outages
    settings     types of settings
    mongodb      for adapters that store: aggregates, outboxes, pages, migrations
    http_client  for adapters that ask another system over HTTP
    aws          for adapters that ask AWS
    lowlevel     for processes that are no service, such as a gateway
    servers      is a server that a setting names of any use?
    operating    for the operators' commands: queues, dead letters, migrations
    testing      for tests and benchmarks

Names are loaded when they are first used (PEP 562), so that a command that needs one of them does
not load the drivers of MongoDB and RabbitMQ. `__init__.pyi` is the list.
"""

from typing import Any, cast

import lazy_loader

__getattr__, __dir__, __all__ = cast(
    "tuple[Any, Any, list[str]]", lazy_loader.attach_stub(__name__, __file__)
)
