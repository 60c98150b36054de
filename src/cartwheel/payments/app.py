"""What payments does: message -> handler."""

import asyncio
from functools import partial

from cartwheel.contracts import payments as contract
from cartwheel.contracts.orders import OrderCanceled, OrderPaymentUnwanted, OrderRefundDue
from cartwheel.kernel import process
from cartwheel.kernel.bus.answering import answer
from cartwheel.kernel.bus.consuming import on
from cartwheel.kernel.clock import utc_now
from cartwheel.kernel.process import Job
from cartwheel.payments import mongo
from cartwheel.payments.handlers import paying, reading, reconciling, refunding
from cartwheel.payments.settings import Settings
from cartwheel.payments.simulator import open_simulator

RECONCILE_EVERY = 5.0
REFUND_EVERY = 1.0


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    async with (
        process.parts("payments", settings) as parts,
        open_simulator(settings.simulator_url, settings.simulator_api_key) as cards,
    ):
        payments = mongo.MongoPayments(parts.database, parts.outboxes)
        await process.serve(
            parts,
            stop,
            migrations=mongo.MIGRATIONS,
            answers=[
                answer(
                    contract.CreatePayment,
                    partial(
                        paying.create_payment,
                        payments=payments,
                        cards=cards,
                        bus=parts.bus,
                        now=utc_now,
                    ),
                ),
                answer(
                    contract.ConfirmPayment,
                    partial(paying.confirm_payment, payments=payments, now=utc_now),
                ),
                answer(
                    contract.ReportVerdict,
                    partial(paying.report_verdict, payments=payments, cards=cards, now=utc_now),
                ),
                answer(contract.GetPayment, partial(reading.get_payment, payments=payments)),
                answer(contract.ListPayments, partial(reading.list_payments, payments=payments)),
            ],
            on=[
                on(
                    OrderCanceled,
                    partial(refunding.order_canceled, payments=payments, now=utc_now),
                ),
                on(
                    OrderPaymentUnwanted,
                    partial(refunding.order_payment_unwanted, payments=payments, now=utc_now),
                ),
                on(
                    OrderRefundDue,
                    partial(refunding.order_refund_due, payments=payments, now=utc_now),
                ),
            ],
            publishes_from=mongo.OUTBOXES,
            events=contract.EVENTS,
            jobs=[
                Job(
                    partial(reconciling.reconcile, payments=payments, cards=cards, now=utc_now),
                    every=RECONCILE_EVERY,
                ),
                Job(
                    partial(
                        refunding.carry_out_refunds, payments=payments, cards=cards, now=utc_now
                    ),
                    every=REFUND_EVERY,
                ),
            ],
        )


def main() -> None:
    process.run("payments", Settings, serve)


if __name__ == "__main__":
    main()
