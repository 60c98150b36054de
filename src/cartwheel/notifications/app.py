"""The notifications service: message -> handler."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from cartwheel.contracts import notifications as contract
from cartwheel.contracts.products import StockLow
from cartwheel.kernel import Core, Gather, Service, Wiring, answer, on
from cartwheel.notifications import mongo
from cartwheel.notifications.domain import TOLD
from cartwheel.notifications.handlers import mail, telling
from cartwheel.notifications.ses import open_ses
from cartwheel.notifications.settings import Settings

CLAIMS_GATHER_SECONDS = 0.2
"""How long claims are gathered into one write. On an idle system it delays a mail by this time."""

NOTES_GATHER_SECONDS = 0.05
"""How long results are gathered into one write. If the process dies before the result of a sent
mail is stored, the mail is sent a second time."""


@asynccontextmanager
async def wire(settings: Settings, core: Core) -> AsyncGenerator[Wiring]:
    mails = mongo.MongoMails(core.database, core.outboxes)
    gathering = mongo.MongoMails(
        core.database,
        core.outboxes,
        claims=Gather(CLAIMS_GATHER_SECONDS, core.stop),
        notes=Gather(NOTES_GATHER_SECONDS, core.stop),
    )
    async with open_ses(sender=settings.ses_sender) as ses:
        tell, report = telling.tell_customer, telling.tell_operations
        to = settings.operations_mail
        yield Wiring(
            answers=[
                answer(contract.ListMail, mail.list_mail, mails=mails),
                answer(contract.ResendMail, mail.resend_mail, mails=mails, sender=ses),
            ],
            on=[
                on(kind, tell, mails=gathering, sender=ses).redelivered_to(
                    tell, mails=mails, sender=ses
                )
                for kind in TOLD
            ]
            + [on(StockLow, report, to=to, mails=mails, sender=ses)],
            probe=ses.probe,
        )


service = Service(
    name="notifications",
    settings=Settings,
    events=contract.EVENTS,
    collections=mongo.COLLECTIONS,
    migrations=mongo.MIGRATIONS,
    wire=wire,
)


if __name__ == "__main__":
    service.run()
