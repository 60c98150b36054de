"""What products does: message -> handler."""

import asyncio
from functools import partial

from cartwheel.contracts import products as contract
from cartwheel.contracts.orders import OrderPaid, OrderRejected
from cartwheel.kernel import process
from cartwheel.kernel.bus.answering import answer, answer_batch
from cartwheel.kernel.bus.consuming import on_batch
from cartwheel.kernel.clock import utc_now
from cartwheel.kernel.process import ServiceSettings
from cartwheel.products import handlers, mongo


async def serve(settings: ServiceSettings, stop: asyncio.Event) -> None:
    async with process.parts("products", settings) as parts:
        catalogue = mongo.MongoCatalogue(parts.database)
        stock = mongo.MongoReservations(parts.client, parts.database)
        await process.serve(
            parts,
            stop,
            migrations=mongo.MIGRATIONS,
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
                on_batch(OrderPaid, partial(handlers.commit_stock, reservations=stock)),
                on_batch(OrderRejected, partial(handlers.release_stock, reservations=stock)),
            ],
            publishes_from=mongo.OUTBOXES,
            events=contract.EVENTS,
        )


def main() -> None:
    process.run("products", ServiceSettings, serve)


if __name__ == "__main__":
    main()
