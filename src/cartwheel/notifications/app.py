"""The notifications service: message -> handler."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from cartwheel.contracts import notifications as contract
from cartwheel.contracts import orders, payments, products
from cartwheel.kernel import Core, DeadLetters, Gather, Job, Service, Wiring, answer, every, on
from cartwheel.notifications import mongo
from cartwheel.notifications.domain import NOTICED, TOLD
from cartwheel.notifications.handlers import mail, telling, watching
from cartwheel.notifications.ses import open_ses
from cartwheel.notifications.settings import Settings, shop_of

CLAIMS_GATHER_SECONDS = 0.2
"""How long claims are gathered into one write. On an idle system it delays a mail by this time."""

NOTES_GATHER_SECONDS = 0.05
"""How long results are gathered into one write. If the process dies before the result of a sent
mail is stored, the mail is sent a second time."""

LOOK_FOR_DEAD_LETTERS_SECONDS = 10.0

WATCHED = sorted(
    {
        service
        for owner in (products, orders, payments, contract)
        for event in owner.EVENTS
        for service in event.consumers
    }
)
"""The services that consume events. Each has a queue of dead letters."""


@asynccontextmanager
async def wire(settings: Settings, core: Core) -> AsyncGenerator[Wiring]:
    mails = mongo.MongoMails(core.database, core.outboxes)
    gathering = mongo.MongoMails(
        core.database,
        core.outboxes,
        claims=Gather(CLAIMS_GATHER_SECONDS, core.stop),
        notes=Gather(NOTES_GATHER_SECONDS, core.stop),
    )
    shop = shop_of(settings)
    async with open_ses(sender=settings.ses_sender, rate=settings.ses_max_send_rate) as ses:
        tell, report = telling.tell_customer, telling.tell_operations
        to = settings.operations_mail
        yield Wiring(
            answers=[
                answer(contract.ListMail, mail.list_mail, mails=mails),
                answer(contract.ResendMail, mail.resend_mail, mails=mails, sender=ses),
            ],
            on=[
                on(kind, tell, shop=shop, mails=gathering, sender=ses).redelivered_to(
                    tell, shop=shop, mails=mails, sender=ses
                )
                for kind in TOLD
            ]
            + [on(kind, report, to=to, shop=shop, mails=mails, sender=ses) for kind in NOTICED],
            jobs=[] if to is None else [_watch_dead_letters(core)],
            probe=ses.probe,
        )


def _watch_dead_letters(core: Core) -> Job:
    letters = DeadLetters()
    core.connection.add(letters)
    return every(
        LOOK_FOR_DEAD_LETTERS_SECONDS,
        watching.watch_dead_letters,
        services=WATCHED,
        letters=letters,
        queues=mongo.MongoDeadQueues(core.database, core.outboxes),
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
