"""What notifications does: message -> handler."""

import asyncio
from functools import partial

from cartwheel.contracts import notifications as contract
from cartwheel.contracts.orders import (
    OrderCanceled,
    OrderPaid,
    OrderPaymentFailed,
    OrderRefunded,
    OrderRejected,
)
from cartwheel.kernel import process
from cartwheel.kernel.bus.answering import answer
from cartwheel.kernel.bus.consuming import on
from cartwheel.kernel.clock import utc_now
from cartwheel.notifications import handlers, mongo
from cartwheel.notifications.ses import open_ses
from cartwheel.notifications.settings import Settings


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    async with (
        process.parts("notifications", settings) as parts,
        open_ses(sender=settings.ses_sender) as ses,
    ):
        mails = mongo.MongoMails(parts.database, parts.outboxes)
        tell = partial(handlers.tell_customer, mails=mails, sender=ses, now=utc_now)
        await process.serve(
            parts,
            stop,
            migrations=mongo.MIGRATIONS,
            answers=[
                answer(contract.ListMail, partial(handlers.list_mail, mails=mails)),
                answer(
                    contract.ResendMail,
                    partial(handlers.resend_mail, mails=mails, sender=ses, now=utc_now),
                ),
            ],
            on=[
                on(OrderPaid, tell),
                on(OrderPaymentFailed, tell),
                on(OrderRejected, tell),
                on(OrderCanceled, tell),
                on(OrderRefunded, tell),
            ],
            publishes_from=mongo.OUTBOXES,
            events=contract.EVENTS,
            probe=ses.probe,
        )


def main() -> None:
    process.run("notifications", Settings, serve)


if __name__ == "__main__":
    main()
