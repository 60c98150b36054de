"""`cartwheel mail`: what was sent to whom, and why; and sending again what has failed."""

import socket
from collections.abc import Sequence

import msgspec
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from cartwheel.contracts.notifications import ListMail, MailView, ResendMail
from cartwheel.kernel.bus.asking import RemoteFailure
from cartwheel.kernel.errors import Outage, Refusal
from cartwheel.kernel.messages import Page
from cartwheel.operations import typed
from cartwheel.operations.reaching import BusSettings, bus


async def listed(
    settings: BusSettings, *, limit: int, order_id: str | None, to: str | None
) -> Page[MailView]:
    async with bus(settings.rabbitmq_url) as asks:
        return await asks.request(ListMail(limit=limit, order_id=order_id, to=to))


class NotAllSent(Exception):
    """Some mails were not sent again; what is said of each is printed already."""


async def resent(settings: BusSettings, ids: Sequence[str], console: Console) -> None:
    """Have each of these mails sent again; one that cannot be does not keep the others from it.

    Raises:
        NotAllSent: after all were tried.
    """
    by = f"{typed.user()}@{socket.gethostname()}"
    each = list(dict.fromkeys(ids))
    sent = 0
    async with bus(settings.rabbitmq_url) as asks:
        for mail_id in each:
            try:
                mail = await asks.request(ResendMail(mail_id=mail_id, by=by))
            except (Refusal, Outage, RemoteFailure) as error:
                typed.complain(f"{mail_id}: {error}")
            else:
                sent += 1
                console.print(Text(f"✓ {mail_id}: sent to {mail.to}"), soft_wrap=True)
    if sent < len(each):
        raise NotAllSent(f"{sent} of {len(each)} sent")


def show_json(page: Page[MailView], console: Console) -> None:
    console.out(msgspec.json.encode(page.data).decode(), highlight=False)


def show_table(page: Page[MailView], console: Console) -> None:
    table = Table(title=f"{len(page.data)} mails, newest first", title_justify="left")
    for column in ("sent", "to", "subject", "why", "status"):
        table.add_column(column, overflow="fold")
    table.add_column("id", no_wrap=True)  # to be copied
    for mail in page.data:
        status = mail.status.value
        if mail.sends > 1:
            status += f" (tried {mail.sends} times)"
        if mail.failure:
            status += f": {mail.failure}"
        at = mail.sent_at or mail.created_at
        cells = (f"{at:%Y-%m-%d %H:%M:%S}", mail.to, mail.subject, mail.reason, status)
        table.add_row(*(Text(cell) for cell in (*cells, mail.id)))
    console.print(table)


def show_whole(mail: MailView, console: Console) -> None:
    head = f"To: {mail.to}\nSubject: {mail.subject}\n\n"
    console.print(Panel(Text(head + mail.text.strip()), title=f"mail, {mail.status}", width=90))
