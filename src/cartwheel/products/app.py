"""What products does: message -> handler."""

import asyncio
from datetime import timedelta
from functools import partial

from cartwheel.contracts import products as contract
from cartwheel.contracts.orders import OrderCanceled, OrderPaid, OrderRejected
from cartwheel.kernel import process
from cartwheel.kernel.bus.answering import answer, answer_batch
from cartwheel.kernel.bus.consuming import on_batch
from cartwheel.kernel.clock import utc_now
from cartwheel.kernel.lane import Gather
from cartwheel.kernel.process import Job
from cartwheel.products import handlers
from cartwheel.products.mongo.catalogue import MongoCatalogue
from cartwheel.products.mongo.reservations import MongoReservations
from cartwheel.products.mongo.schema import MIGRATIONS, OUTBOXES
from cartwheel.products.settings import Settings

LOOK_FOR_HOLDS_EVERY = 10.0

COMMITS_GATHER = 0.2
"""Seconds. What is being sold is reserved until then: nobody else can have it, and no more or less
is available."""


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    async with process.parts("products", settings) as parts:
        catalogue = MongoCatalogue(parts.database, parts.outboxes)
        stock = MongoReservations(parts.client, parts.database, parts.outboxes)
        commit = partial(handlers.commit_stock, reservations=stock, now=utc_now)
        release = partial(handlers.release_stock, reservations=stock, now=utc_now)
        await process.serve(
            parts,
            stop,
            migrations=MIGRATIONS,
            answers=[
                answer(
                    contract.CreateProduct,
                    partial(handlers.create_product, catalogue=catalogue, now=utc_now),
                ),
                answer(
                    contract.UpdateProduct,
                    partial(handlers.update_product, catalogue=catalogue, now=utc_now),
                ),
                answer(
                    contract.ArchiveProduct,
                    partial(handlers.archive_product, catalogue=catalogue, now=utc_now),
                ),
                answer(contract.ListProducts, partial(handlers.list_products, catalogue=catalogue)),
                answer_batch(
                    contract.GetProduct, partial(handlers.get_products, catalogue=catalogue)
                ),
                answer_batch(
                    contract.ReserveStock,
                    partial(handlers.reserve_stock, reservations=stock, now=utc_now),
                ),
            ],
            on=[
                on_batch(OrderPaid, commit, gather=Gather(COMMITS_GATHER, stop)),
                on_batch(OrderRejected, release),
                on_batch(OrderCanceled, release),
            ],
            jobs=[
                Job(
                    partial(
                        handlers.give_up_holds,
                        reservations=stock,
                        bus=parts.bus,
                        now=utc_now,
                        older_than=timedelta(seconds=settings.hold_check_after_seconds),
                    ),
                    every=LOOK_FOR_HOLDS_EVERY,
                )
            ],
            publishes_from=OUTBOXES,
            events=contract.EVENTS,
        )


def main() -> None:
    process.run("products", Settings, serve)


if __name__ == "__main__":
    main()
