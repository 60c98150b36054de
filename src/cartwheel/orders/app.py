"""What orders does: message -> handler."""

import asyncio
from functools import partial

from cartwheel.contracts import orders as contract
from cartwheel.contracts.payments import PaymentCaptured, PaymentDeclined, PaymentPending
from cartwheel.kernel import process
from cartwheel.kernel.bus.answering import answer, answer_batch
from cartwheel.kernel.bus.consuming import on
from cartwheel.kernel.clock import utc_now
from cartwheel.kernel.process import ServiceSettings
from cartwheel.orders import handlers, mongo


async def serve(settings: ServiceSettings, stop: asyncio.Event) -> None:
    async with process.parts("orders", settings) as parts:
        orders = mongo.MongoOrders(parts.database)
        await process.serve(
            parts,
            stop,
            migrations=mongo.MIGRATIONS,
            answers=[
                answer_batch(
                    contract.PlaceOrder,
                    partial(handlers.place_orders, orders=orders, bus=parts.bus, now=utc_now),
                ),
                answer_batch(contract.GetOrder, partial(handlers.get_orders, orders=orders)),
                answer(contract.ListOrders, partial(handlers.list_orders, orders=orders)),
                answer(contract.GetTimeline, partial(handlers.get_timeline, orders=orders)),
                answer(
                    contract.GetPayableOrder,
                    partial(handlers.get_payable_order, orders=orders, now=utc_now),
                ),
            ],
            on=[
                on(PaymentPending, partial(handlers.payment_pending, orders=orders, now=utc_now)),
                on(
                    PaymentCaptured,
                    partial(handlers.payment_captured, orders=orders, now=utc_now),
                ),
                on(
                    PaymentDeclined,
                    partial(handlers.payment_declined, orders=orders, now=utc_now),
                ),
            ],
            publishes_from=mongo.OUTBOXES,
            events=contract.EVENTS,
        )


def main() -> None:
    process.run("orders", ServiceSettings, serve)


if __name__ == "__main__":
    main()
