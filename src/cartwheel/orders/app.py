"""What orders does: message -> handler."""

import asyncio
from datetime import timedelta
from functools import partial

from cartwheel.contracts import orders as contract
from cartwheel.contracts.payments import (
    PaymentCaptured,
    PaymentDeclined,
    PaymentPending,
    PaymentRefunded,
)
from cartwheel.contracts.products import StockShortage
from cartwheel.kernel import process
from cartwheel.kernel.bus.answering import answer, answer_batch
from cartwheel.kernel.bus.consuming import on
from cartwheel.kernel.clock import utc_now
from cartwheel.kernel.process import Job
from cartwheel.orders import mongo
from cartwheel.orders.handlers import ending, paying, placing, reading
from cartwheel.orders.settings import Settings

LOOK_FOR_OVERDUE_EVERY = 2.0


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    async with process.parts("orders", settings) as parts:
        orders = mongo.MongoOrders(parts.database, parts.outboxes)
        await process.serve(
            parts,
            stop,
            migrations=mongo.MIGRATIONS,
            answers=[
                answer(
                    contract.PlaceOrder,
                    partial(
                        placing.place_order,
                        orders=orders,
                        bus=parts.bus,
                        now=utc_now,
                        pay_within=timedelta(seconds=settings.payment_deadline_seconds),
                    ),
                ),
                answer_batch(contract.GetOrder, partial(reading.get_orders, orders=orders)),
                answer(contract.ListOrders, partial(reading.list_orders, orders=orders)),
                answer(contract.GetTimeline, partial(reading.get_timeline, orders=orders)),
                answer(
                    contract.GetOrderStatuses, partial(reading.get_order_statuses, orders=orders)
                ),
                answer(
                    contract.CancelOrder,
                    partial(ending.cancel_order, orders=orders, now=utc_now),
                ),
                answer_batch(
                    contract.GetPayableOrder, partial(paying.get_payable_orders, orders=orders)
                ),
            ],
            on=[
                on(PaymentPending, partial(paying.payment_pending, orders=orders, now=utc_now)),
                on(
                    PaymentCaptured,
                    partial(paying.payment_captured, orders=orders, now=utc_now),
                ),
                on(
                    PaymentDeclined,
                    partial(paying.payment_declined, orders=orders, now=utc_now),
                ),
                on(PaymentRefunded, partial(ending.payment_refunded, orders=orders, now=utc_now)),
                on(StockShortage, partial(ending.stock_shortage, orders=orders, now=utc_now)),
            ],
            jobs=[
                Job(
                    partial(ending.expire_orders, orders=orders, now=utc_now),
                    every=LOOK_FOR_OVERDUE_EVERY,
                )
            ],
            publishes_from=mongo.OUTBOXES,
            events=contract.EVENTS,
        )


def main() -> None:
    process.run("orders", Settings, serve)


if __name__ == "__main__":
    main()
