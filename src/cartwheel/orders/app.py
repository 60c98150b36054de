"""The orders service: message -> handler."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta

from cartwheel.contracts import addresses as address_book
from cartwheel.contracts import fulfilment
from cartwheel.contracts import orders as contract
from cartwheel.contracts.payments import (
    PaymentActionRequired,
    PaymentAuthorized,
    PaymentCanceled,
    PaymentCaptured,
    PaymentDeclined,
    PaymentDisputeClosed,
    PaymentPending,
    PaymentRefunded,
    PaymentRefundFailed,
)
from cartwheel.contracts.products import StockShortage
from cartwheel.kernel import Core, Service, Wiring, answer, answer_batch, every, on
from cartwheel.orders import mongo
from cartwheel.orders.handlers import (
    addresses,
    ending,
    paying,
    placing,
    reading,
    returning,
    shipping,
)
from cartwheel.orders.settings import Settings

LOOK_FOR_OVERDUE_SECONDS = 2.0
LOOK_FOR_UNDATED_SECONDS = 60.0


@asynccontextmanager
async def wire(settings: Settings, core: Core) -> AsyncGenerator[Wiring]:
    orders = mongo.MongoOrders(core.database, core.outboxes)
    books = mongo.MongoAddresses(core.database)
    pay_within = timedelta(seconds=settings.payment_deadline_seconds)
    act_within = timedelta(seconds=settings.action_deadline_seconds)
    cash_within = timedelta(days=settings.cash_deadline_days)
    yield Wiring(
        answers=[
            answer(
                contract.PlaceOrder,
                placing.place_order,
                orders=orders,
                bus=core.bus,
                pay_within=pay_within,
                limits=settings.limits,
                mailed=settings.placed_mail == "on",
            ),
            answer_batch(contract.GetOrder, reading.get_orders, orders=orders),
            answer(contract.ListOrders, reading.list_orders, orders=orders),
            answer(contract.GetTimeline, reading.get_timeline, orders=orders),
            answer(contract.GetPriceOfPieces, reading.get_price_of_pieces, orders=orders),
            answer(contract.GetOrderStatuses, reading.get_order_statuses, orders=orders),
            answer(address_book.CreateAddress, addresses.create_address, addresses=books),
            answer(address_book.ListAddresses, addresses.list_addresses, addresses=books),
            answer(address_book.GetAddress, addresses.get_address, addresses=books),
            answer(address_book.ChangeAddress, addresses.change_address, addresses=books),
            answer(address_book.DeleteAddress, addresses.delete_address, addresses=books),
            answer(contract.CancelOrder, ending.cancel_order, orders=orders),
            answer_batch(
                contract.GetPayableOrder,
                paying.get_payable_orders,
                orders=orders,
                act_within=act_within,
            ),
            answer(fulfilment.ShipOrder, shipping.ship_order, orders=orders, bus=core.bus),
            answer(fulfilment.CallOffPieces, shipping.call_off_pieces, orders=orders),
            answer(fulfilment.GetShipment, shipping.get_shipment, orders=orders),
            answer(fulfilment.ReportDelivered, shipping.report_delivered, orders=orders),
            answer(fulfilment.ReportDeliveryFailed, shipping.report_delivery_failed, orders=orders),
            answer(fulfilment.GiveUpCash, shipping.give_up_cash, orders=orders),
            answer(
                fulfilment.RequestReturn,
                returning.request_return,
                orders=orders,
                window=timedelta(days=settings.return_window_days),
            ),
            answer(fulfilment.GetReturn, returning.get_return, orders=orders),
            answer(fulfilment.DecideReturn, returning.decide_return, orders=orders),
            answer(fulfilment.ReceiveReturn, returning.receive_return, orders=orders),
        ],
        on=[
            on(PaymentPending, paying.payment_pending, orders=orders, cash_within=cash_within),
            on(
                PaymentActionRequired,
                paying.payment_action_required,
                orders=orders,
                act_within=act_within,
            ),
            on(PaymentAuthorized, paying.payment_authorized, orders=orders),
            on(PaymentCaptured, paying.payment_captured, orders=orders),
            on(PaymentDeclined, paying.payment_declined, orders=orders),
            on(PaymentCanceled, paying.payment_canceled, orders=orders),
            on(PaymentRefunded, ending.payment_refunded, orders=orders),
            on(PaymentRefundFailed, ending.payment_refund_failed, orders=orders),
            on(PaymentDisputeClosed, ending.payment_dispute_closed, orders=orders),
            on(StockShortage, ending.stock_shortage, orders=orders),
        ],
        jobs=[
            every(LOOK_FOR_OVERDUE_SECONDS, ending.expire_orders, orders=orders),
            every(
                LOOK_FOR_UNDATED_SECONDS,
                ending.date_older_orders,
                orders=orders,
                cash_within=cash_within,
            ),
        ],
    )


service = Service(
    name="orders",
    settings=Settings,
    events=contract.EVENTS + fulfilment.EVENTS,
    collections=mongo.COLLECTIONS,
    migrations=mongo.MIGRATIONS,
    wire=wire,
)


if __name__ == "__main__":
    service.run()
