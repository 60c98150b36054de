"""`cartwheel mail`: list the mail that was sent, to whom and why, and send failed mail again."""

from collections.abc import Sequence

import msgspec
from rich.console import Console
from rich.text import Text

from cartwheel.contracts.notifications import ListMail, MailView, ResendMail
from cartwheel.contracts.order_number import read_number
from cartwheel.kernel import Page
from cartwheel.kernel.errors import Outage, Refusal
from cartwheel.kernel.lowlevel import RemoteFailure
from cartwheel.operations import asking, tables, typed
from cartwheel.operations.reaching import BusSettings
from cartwheel.operations.tables import Column

_COLUMNS = (
    Column("sent"),
    Column("to"),
    Column("subject", prose=True),
    Column("why"),
    Column("status", prose=True),
    Column("id"),
)


async def listed(
    settings: BusSettings, *, limit: int, order: str | None = None, to: str | None = None
) -> Page[MailView]:
    """Return the newest mail about the order with this number or id, and to this address."""
    number = read_number(order) if order else None
    order_id = None if number else order
    async with asking.bus(settings) as asks:
        return await asks.request(
            ListMail(
                limit=limit, order_id=order_id, order_number=number, to=to, actor=asking.operator()
            )
        )


class NotAllSent(Exception):
    """Some mails were not sent again. Their errors are printed already."""


async def resent(settings: BusSettings, ids: Sequence[str]) -> None:
    """Have each of these mails sent again. A failure does not stop the others.

    Raises:
        NotAllSent: some failed; all were tried.
    """
    actor = asking.operator()
    each = list(dict.fromkeys(ids))
    sent = 0
    async with asking.bus(settings) as asks:
        for mail_id in each:
            try:
                request = ResendMail(mail_id=mail_id, by=actor.user_id, actor=actor)
                mail = await asks.request(request)
            except (Refusal, Outage, RemoteFailure) as error:
                typed.complain(f"{mail_id}: {error}")
            else:
                sent += 1
                typed.say_done(f"{mail_id}: sent to {mail.to}")
    if sent < len(each):
        raise NotAllSent(f"{sent} of {len(each)} sent")


def show_json(page: Page[MailView], console: Console) -> None:
    console.out(msgspec.json.encode(page.data).decode(), highlight=False)


def show_none(console: Console, *, order: str | None, to: str | None) -> None:
    about = f" about order {order}" if order else ""
    whom = f" to {to}" if to else ""
    console.print(Text(f"There is no mail{about}{whom}."), soft_wrap=True)


def show_list(page: Page[MailView], console: Console) -> None:
    count = len(page.data)
    console.print(f"{count} mail{'s' if count > 1 else ''}, newest first", highlight=False)
    tables.show(_COLUMNS, [_row(mail) for mail in page.data], console)
    if page.next_cursor:
        console.print("There is older mail. A higher --limit shows more.", highlight=False)


def _row(mail: MailView) -> tuple[str, ...]:
    status = mail.status.value
    if mail.sends > 1:
        status += f" (tried {mail.sends} times)"
    if mail.failure:
        status += f": {mail.failure}"
    at = mail.sent_at or mail.created_at
    return f"{at:%Y-%m-%d %H:%M:%S}", mail.to, mail.subject, mail.reason, status, mail.id


def show_whole(mail: MailView, console: Console) -> None:
    console.print(Text(f"{mail.id}: {mail.status}", style="bold"), soft_wrap=True)
    told = f"To: {mail.to}\nSubject: {mail.subject}\n\n{mail.text.strip()}\n"
    console.print(Text(told), soft_wrap=True)
