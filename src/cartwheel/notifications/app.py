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
from cartwheel.kernel.lane import Gather
from cartwheel.notifications import handlers, mongo
from cartwheel.notifications.ses import open_ses
from cartwheel.notifications.settings import Settings

CLAIMS_GATHER = 0.2
"""Seconds by which a mail on an idle system is later than it could be."""

NOTES_GATHER = 0.05
"""Seconds. Until a mail that SES has taken is noted, the death of the process means a second
mail."""


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    async with (
        process.parts("notifications", settings) as parts,
        open_ses(sender=settings.ses_sender) as ses,
    ):
        mails = mongo.MongoMails(parts.database, parts.outboxes)
        gathering = mongo.MongoMails(
            parts.database,
            parts.outboxes,
            claims=Gather(CLAIMS_GATHER, stop),
            notes=Gather(NOTES_GATHER, stop),
        )
        tell = partial(handlers.tell_customer, mails=gathering, sender=ses, now=utc_now)
        tell_at_once = partial(handlers.tell_customer, mails=mails, sender=ses, now=utc_now)
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
                on(OrderPaid, tell, alone=tell_at_once),
                on(OrderPaymentFailed, tell, alone=tell_at_once),
                on(OrderRejected, tell, alone=tell_at_once),
                on(OrderCanceled, tell, alone=tell_at_once),
                on(OrderRefunded, tell, alone=tell_at_once),
            ],
            publishes_from=mongo.OUTBOXES,
            events=contract.EVENTS,
            probe=ses.probe,
        )


def main() -> None:
    process.run("notifications", Settings, serve)


if __name__ == "__main__":
    main()
