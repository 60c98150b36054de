"""Notifications on the real MongoDB and the emulator's SES, and the mail that SES has sent."""

from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack, contextmanager
from typing import Any, NamedTuple

import aiohttp
import pytest

from cartwheel.contracts.notifications import ListMail, MailView, ResendMail
from cartwheel.kernel import Clock, CloudEvent, Page
from cartwheel.kernel.mongodb import Database, Document, Outboxes
from cartwheel.local.up import System
from cartwheel.notifications.domain import Told
from cartwheel.notifications.handlers import mail as mail_handlers
from cartwheel.notifications.handlers import telling
from cartwheel.notifications.mongo import MIGRATIONS, MongoMails
from cartwheel.notifications.ports import Sender
from cartwheel.notifications.ses import Ses, open_ses

from ..databases import Prepared
from ..scripted_ses import ScriptedSes, scripted_ses
from .examples import SHOP, now

SENDER = "The shop <shop@example.com>"
"""The sender of mail through the scripted SES."""


class Notifications(NamedTuple):
    """The adapters and handlers of one process of the service."""

    database: Database
    mails: MongoMails
    sender: Sender
    outboxes: Outboxes

    async def tell(self, event: CloudEvent[Told], *, at: Clock = now) -> None:
        await telling.tell_customer(event, shop=SHOP, mails=self.mails, sender=self.sender, now=at)

    async def resend(self, event: CloudEvent[Told], *, by: str = "alice@laptop") -> MailView:
        request = ResendMail(mail_id=event.id, by=by)
        return await mail_handlers.resend_mail(
            request, mails=self.mails, sender=self.sender, now=now
        )

    async def page(self, request: ListMail) -> Page[MailView]:
        return await mail_handlers.list_mail(request, mails=self.mails)

    async def kept(self, event: CloudEvent[Told]) -> MailView:
        """Return the only mail of the event's order."""
        page = await self.page(ListMail(limit=10, order_id=event.data.order.id))
        [mail] = page.data
        return mail

    async def document(self, event: CloudEvent[Told]) -> Document:
        found = await self.database["mail"].find_one({"_id": event.id})
        assert found
        return found

    async def a_minute_passes(self, event: CloudEvent[Told]) -> None:
        """Move the claim into the past, because claims follow the server's clock."""
        earlier = {"$subtract": ["$claimed_until", 60_000]}
        await self.database["mail"].update_one(
            {"_id": event.id}, [{"$set": {"claimed_until": earlier}}]
        )


class Postbox:
    """The mail that the emulator's SES has sent: independent evidence."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint

    async def of(self, address: str) -> list[dict[str, Any]]:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{self._endpoint}/_ministack/ses/messages") as response,
        ):
            answer = await response.json(content_type=None)
        sent = [mail for account in answer["messages"].values() for mail in account]
        return [mail for mail in sent if mail["To"] == [address]]


@contextmanager
def asking_the_emulator(system: System) -> Generator[None]:
    """Put the emulator's address into the environment, where AWS clients look for it."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_REGION"):
            patch.delenv(name, raising=False)
        for name, value in system.environment.items():
            if name.startswith("AWS_"):
                patch.setenv(name, value)
        yield


@pytest.fixture
def aws(system: System) -> Generator[None]:
    """The environment for tests that make their own AWS client."""
    with asking_the_emulator(system):
        yield


@pytest.fixture
def postbox(system: System) -> Postbox:
    return Postbox(system.environment["AWS_ENDPOINT_URL"])


@pytest.fixture(scope="session")
async def ses(system: System) -> AsyncGenerator[Ses]:
    async with AsyncExitStack() as stack:
        with asking_the_emulator(system):
            ses = await stack.enter_async_context(open_ses(sender=system.environment["SES_SENDER"]))
        yield ses


@pytest.fixture
async def notifications(prepared: Prepared, ses: Ses) -> Notifications:
    database = await prepared(MIGRATIONS)
    outboxes = Outboxes()
    return Notifications(database, MongoMails(database, outboxes), ses, outboxes)


@pytest.fixture
async def script(aws: None, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[ScriptedSes]:
    """An SES with scripted answers. AWS clients made in the test reach it."""
    async with scripted_ses() as scripted:
        monkeypatch.setenv("AWS_ENDPOINT_URL", scripted.url)
        yield scripted


@pytest.fixture
async def scripted_sender(script: ScriptedSes) -> AsyncGenerator[Ses]:
    async with open_ses(sender=SENDER) as ses:
        yield ses


@pytest.fixture
async def impatient_sender(script: ScriptedSes) -> AsyncGenerator[Ses]:
    """A sender that waits at most 2 s for SES's answer."""
    async with open_ses(sender=SENDER, timeout=2.0) as ses:
        yield ses


@pytest.fixture
def scripted(notifications: Notifications, scripted_sender: Ses) -> Notifications:
    """Notifications whose mail goes to the scripted SES."""
    return notifications._replace(sender=scripted_sender)
