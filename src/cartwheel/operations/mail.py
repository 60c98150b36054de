"""`cartwheel mail`: what was sent to whom, and why."""

import msgspec
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from cartwheel.contracts.notifications import ListMail, MailView
from cartwheel.kernel.messages import Page
from cartwheel.operations.reaching import BusSettings, bus


async def listed(
    settings: BusSettings, *, limit: int, order_id: str | None, to: str | None
) -> Page[MailView]:
    async with bus(settings.rabbitmq_url) as asks:
        return await asks.request(ListMail(limit=limit, order_id=order_id, to=to))


def show_json(page: Page[MailView], console: Console) -> None:
    console.out(msgspec.json.encode(page.data).decode(), highlight=False)


def show_table(page: Page[MailView], console: Console) -> None:
    table = Table(title=f"{len(page.data)} mails, newest first", title_justify="left")
    for column in ("sent", "to", "subject", "why", "status"):
        table.add_column(column, overflow="fold")
    for mail in page.data:
        status = mail.status.value
        if mail.sends > 1:
            status += f" (tried {mail.sends} times)"
        if mail.failure:
            status += f": {mail.failure}"
        at = mail.sent_at or mail.created_at
        table.add_row(
            f"{at:%Y-%m-%d %H:%M:%S}", Text(mail.to), Text(mail.subject), mail.reason, status
        )
    console.print(table)


def show_whole(mail: MailView, console: Console) -> None:
    head = f"To: {mail.to}\nSubject: {mail.subject}\n\n"
    console.print(Panel(Text(head + mail.text.strip()), title=f"mail, {mail.status}", width=90))
