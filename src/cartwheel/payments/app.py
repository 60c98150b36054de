"""The payments service: message -> handler."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from cartwheel.contracts import ledger
from cartwheel.contracts import payments as contract
from cartwheel.contracts.orders import OrderCanceled, OrderPaymentUnwanted, OrderRefundDue
from cartwheel.kernel import Core, Service, Wiring, answer, every, on
from cartwheel.payments import mongo
from cartwheel.payments.domain import Expiring
from cartwheel.payments.handlers import (
    capturing,
    comparing,
    paying,
    reading,
    reconciling,
    refunding,
)
from cartwheel.payments.settings import Settings
from cartwheel.providers.simulator.client import open_simulator

RECONCILE_SECONDS = 5.0
ACTION_SECONDS = 2.0
REFUND_SECONDS = 1.0
AUTHORIZATION_SECONDS = 2.0


@asynccontextmanager
async def wire(settings: Settings, core: Core) -> AsyncGenerator[Wiring]:
    payments = mongo.MongoPayments(core.database, core.outboxes)
    async with open_simulator(settings.simulator_url, settings.simulator_api_key) as cards:
        yield Wiring(
            answers=[
                answer(
                    contract.CreatePayment,
                    paying.create_payment,
                    payments=payments,
                    cards=cards,
                    bus=core.bus,
                    takes_cash=settings.cash_on_delivery == "on",
                    capture=settings.card_capture == "now",
                    return_urls=settings.return_urls,
                ),
                answer(contract.ConfirmPayment, paying.confirm_payment, payments=payments),
                answer(
                    contract.CancelPayment,
                    paying.cancel_payment,
                    payments=payments,
                    cards=cards,
                    bus=core.bus,
                ),
                answer(
                    contract.ReportVerdict, paying.report_verdict, payments=payments, cards=cards
                ),
                answer(
                    contract.ReportAuthorization,
                    capturing.report_authorization,
                    payments=payments,
                    cards=cards,
                ),
                answer(
                    contract.CapturePayment,
                    capturing.capture_payment,
                    payments=payments,
                    cards=cards,
                ),
                answer(
                    contract.CreateRefund, refunding.create_refund, payments=payments, bus=core.bus
                ),
                answer(contract.GetRefund, reading.get_refund, payments=payments),
                answer(
                    contract.ReportRefund, refunding.report_refund, payments=payments, cards=cards
                ),
                answer(
                    contract.ReportDispute, refunding.report_dispute, payments=payments, cards=cards
                ),
                answer(contract.ListDisputed, reading.list_disputed, payments=payments),
                answer(contract.GetPayment, reading.get_payment, payments=payments),
                answer(contract.GetPaymentTimeline, reading.get_timeline, payments=payments),
                answer(contract.ListPayments, reading.list_payments, payments=payments),
                answer(
                    ledger.GetPaymentAtProvider,
                    comparing.get_payment_at_provider,
                    payments=payments,
                    cards=cards,
                ),
                answer(ledger.ListLedger, comparing.list_ledger, cards=cards),
                answer(
                    ledger.ReconcilePayment,
                    comparing.reconcile_payment,
                    payments=payments,
                    cards=cards,
                ),
            ],
            on=[
                on(OrderCanceled, refunding.order_canceled, payments=payments),
                on(OrderPaymentUnwanted, refunding.order_payment_unwanted, payments=payments),
                on(OrderRefundDue, refunding.order_refund_due, payments=payments),
            ],
            jobs=[
                every(RECONCILE_SECONDS, reconciling.reconcile, payments=payments, cards=cards),
                every(ACTION_SECONDS, reconciling.end_actions, payments=payments, cards=cards),
                every(REFUND_SECONDS, refunding.carry_out_refunds, payments=payments, cards=cards),
                every(
                    AUTHORIZATION_SECONDS,
                    capturing.look_after_authorizations,
                    payments=payments,
                    cards=cards,
                    expiring=Expiring(settings.authorization_expiring),
                ),
            ],
        )


service = Service(
    name="payments",
    settings=Settings,
    events=contract.EVENTS,
    collections=mongo.COLLECTIONS,
    migrations=mongo.MIGRATIONS,
    wire=wire,
)


if __name__ == "__main__":
    service.run()
