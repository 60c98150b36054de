"""The products service: message -> handler."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta

from cartwheel.contracts import products as contract
from cartwheel.contracts.fulfilment import (
    DeliveryFailed,
    ParcelShipped,
    PiecesCalledOff,
    ReturnReceived,
)
from cartwheel.contracts.orders import OrderCanceled, OrderPaid, OrderRejected
from cartwheel.kernel import (
    Core,
    Gather,
    Service,
    Wiring,
    answer,
    answer_batch,
    answer_together,
    every,
    on_batch,
)
from cartwheel.products.handlers import adjustments, catalogue, stock
from cartwheel.products.mongo.adjustments import MongoAdjustments
from cartwheel.products.mongo.catalogue import MongoCatalogue
from cartwheel.products.mongo.reservations import MongoReservations
from cartwheel.products.mongo.schema import COLLECTIONS, MIGRATIONS
from cartwheel.products.settings import Settings

ABANDONED_CHECK_SECONDS = 10.0

COMMITS_GATHER_SECONDS = 0.2
"""How long paid orders are gathered into one commit. Meanwhile their stock stays reserved, so the
available stock does not change."""


@asynccontextmanager
async def wire(settings: Settings, core: Core) -> AsyncGenerator[Wiring]:
    goods = MongoCatalogue(core.database, core.outboxes)
    reservations = MongoReservations(core.client, core.database, core.outboxes)
    adjusted = MongoAdjustments(core.client, core.database, core.outboxes)
    gather = Gather(COMMITS_GATHER_SECONDS, core.stop)
    yield Wiring(
        answers=[
            answer(contract.CreateProduct, catalogue.create_product, catalogue=goods),
            answer(contract.UpdateProduct, catalogue.update_product, catalogue=goods),
            answer(contract.ArchiveProduct, catalogue.archive_product, catalogue=goods),
            answer(contract.RestoreProduct, catalogue.restore_product, catalogue=goods),
            answer(contract.ListProducts, catalogue.list_products, catalogue=goods),
            answer_batch(contract.GetProduct, catalogue.get_products, catalogue=goods),
            *answer_together(
                (contract.ReserveStock, contract.AdjustStock),
                stock.change_stock,
                reservations=reservations,
            ),
            answer(contract.GetAdjustment, adjustments.get_adjustment, adjustments=adjusted),
            answer(contract.ListAdjustments, adjustments.list_adjustments, adjustments=adjusted),
            answer(contract.ExplainStock, adjustments.explain_stock, adjustments=adjusted),
            answer(contract.RepairStock, adjustments.repair_stock, adjustments=adjusted),
        ],
        on=[
            on_batch(OrderPaid, stock.commit_stock, gather, reservations=reservations),
            on_batch(OrderRejected, stock.release_stock, reservations=reservations),
            on_batch(OrderCanceled, stock.release_stock, reservations=reservations),
            on_batch(ParcelShipped, stock.fulfil, reservations=reservations),
            on_batch(DeliveryFailed, stock.fulfil, reservations=reservations),
            on_batch(PiecesCalledOff, stock.fulfil, reservations=reservations),
            on_batch(ReturnReceived, stock.fulfil, reservations=reservations),
        ],
        jobs=[
            every(
                ABANDONED_CHECK_SECONDS,
                stock.release_abandoned,
                reservations=reservations,
                bus=core.bus,
                older_than=timedelta(seconds=settings.hold_check_after_seconds),
            )
        ],
    )


service = Service(
    name="products",
    settings=Settings,
    events=contract.EVENTS,
    collections=COLLECTIONS,
    migrations=MIGRATIONS,
    wire=wire,
)


if __name__ == "__main__":
    service.run()
