"""The output of lists: on terminals of any width, in pipes, and empty."""

import io
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import TypeVar

import msgspec
import pytest
from rich.console import Console

from cartwheel.contracts.notifications import MailStatus, MailView
from cartwheel.kernel import Page, new_id
from cartwheel.operations import mail as mails
from cartwheel.operations import typed
from cartwheel.operations.dead_letters import display
from cartwheel.operations.dead_letters.audit import Action, Line
from cartwheel.operations.dead_letters.dead_letter import DeadLetter

AT = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
LONG_ADDRESS = f"{'a.customer.with.a.long.name' * 2}@{'mail.example.' * 5}com"

Item = TypeVar("Item")


@pytest.fixture(params=[40, 80, 130, 250])
def screen(request: pytest.FixtureRequest) -> Console:
    return Console(file=io.StringIO(), width=request.param, force_terminal=True, color_system=None)


@pytest.fixture
def pipe(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Console:
    """The console of a command whose output is piped."""
    monkeypatch.setenv("COLUMNS", "80")
    return typed.output()


def printed(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def a_mail(to: str = LONG_ADDRESS, failure: str | None = None) -> MailView:
    return MailView(
        id=new_id("evt"),
        to=to,
        reason="order.payment_failed.v1",
        order_id=new_id("ord"),
        order_number="K7QM3-XWD9A",
        subject="Order K7QM3-XWD9A: payment declined",
        text="Hello,\n\nyour payment was declined.",
        status=MailStatus.FAILED if failure else MailStatus.SENT,
        sends=1,
        message_id=None,
        failure=failure,
        created_at=AT,
        sent_at=AT,
    )


def a_letter() -> DeadLetter:
    return DeadLetter(
        service="notifications",
        id=new_id("evt"),
        type="order.payment_failed.v1",
        subject=new_id("ord"),
        reason="the handler failed because " + "of something long " * 10,
        attempts=4,
        since=AT,
        happened=None,
        replayed=0,
        headers={"cloudEvents_subject": new_id("ord"), "stack": "Traceback …"},
        body=msgspec.json.encode({"order_id": new_id("ord"), "to": LONG_ADDRESS}),
    )


def a_line(why: str = "a test", *, done: bool = True) -> Line:
    return Line(
        id=new_id("aud"),
        at=AT,
        who="alice",
        host="laptop",
        action=Action.DROP,
        service="notifications",
        event_id=new_id("evt"),
        type="order.paid.v1",
        subject=new_id("ord"),
        reason="by zero",
        why=why,
        done=done,
    )


async def each(items: Sequence[Item]) -> AsyncIterator[Item]:
    for item in items:
        yield item


def test_addresses_and_ids_of_mail_are_never_broken(screen: Console) -> None:
    listed = [a_mail(), a_mail("a@b.example", failure="SES says no, " * 10), a_mail()]
    mails.show_list(Page(data=listed), screen)
    for mail in listed:
        assert mail.id in printed(screen)
        assert mail.to in printed(screen)


def test_a_whole_mail_can_be_copied(screen: Console) -> None:
    mail = a_mail()
    mails.show_whole(mail, screen)
    assert f"To: {mail.to}\nSubject: {mail.subject}\n\n{mail.text}\n" in printed(screen)


def test_a_wide_terminal_shows_a_table_and_a_narrow_one_an_entry_for_each_mail() -> None:
    mail = a_mail("a@b.example")
    narrow, wide = (
        Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
        for width in (80, 200)
    )
    for console in (narrow, wide):
        mails.show_list(Page(data=[mail]), console)

    assert [line.split()[0] for line in printed(narrow).splitlines()[1:-1]] == (
        ["sent", "to", "subject", "why", "status", "id"]
    )
    _, header, row = printed(wide).splitlines()
    assert header.split() == ["sent", "to", "subject", "why", "status", "id"]
    assert row.rstrip().endswith(mail.id)


def test_a_piped_list_has_one_line_per_item(
    pipe: Console, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = [a_mail(failure="SES says\nno, " * 50), a_mail()]
    mails.show_list(Page(data=listed), pipe)
    _, _, *rows = capsys.readouterr().out.splitlines()
    assert [row.split()[-1] for row in rows] == [mail.id for mail in listed]


async def test_piped_dead_letters_have_one_line_each(
    pipe: Console, capsys: pytest.CaptureFixture[str]
) -> None:
    letters = [a_letter(), a_letter()]
    display.show_some(letters, pipe, header=True)
    _, *rows = capsys.readouterr().out.splitlines()
    assert [row.split()[1] for row in rows] == [letter.id for letter in letters]

    lines = [a_line("of no use " * 20), a_line(done=False)]
    await display.show_audit(each(lines), pipe)
    _, *rows = capsys.readouterr().out.splitlines()
    assert [row.split()[-1] for row in rows] == ["yes", "no"]
    assert all(line.event_id in row for line, row in zip(lines, rows, strict=True))


async def test_ids_of_dead_letters_are_never_broken(screen: Console) -> None:
    letter, line = a_letter(), a_line("of no use " * 20)
    display.show_some([letter], screen, header=True)
    await display.show_audit(each([line]), screen)
    assert letter.subject
    for id in (letter.id, letter.subject, line.event_id):
        assert id in printed(screen)


def test_a_whole_dead_letter_can_be_copied(screen: Console) -> None:
    letter = a_letter()
    display.show_whole(letter, screen)
    for copied in (letter.id, letter.headers["cloudEvents_subject"], LONG_ADDRESS):
        assert copied in printed(screen)


async def test_pieces_of_a_long_list_line_up() -> None:
    console = Console(file=io.StringIO(), width=250, force_terminal=True, color_system=None)
    lines = [a_line() for _ in range(450)]
    await display.show_audit(each(lines), console)
    header, *rows = printed(console).splitlines()
    assert len(rows) == len(lines)
    assert {row.index("evt_") for row in rows} == {header.index("id")}


async def test_an_empty_audit_is_a_sentence(screen: Console) -> None:
    await display.show_audit(each(list[Line]()), screen)
    assert printed(screen) == "Nothing was replayed or dropped so far.\n"


@pytest.mark.parametrize(
    ("order", "to", "said"),
    [
        (None, None, "There is no mail."),
        ("K7QM3-XWD9A", None, "There is no mail about order K7QM3-XWD9A."),
        (None, LONG_ADDRESS, f"There is no mail to {LONG_ADDRESS}."),
        ("K7QM3-XWD9A", "a@b.example", "There is no mail about order K7QM3-XWD9A to a@b.example."),
    ],
)
def test_an_empty_list_of_mail_is_a_sentence(
    screen: Console, order: str | None, to: str | None, said: str
) -> None:
    mails.show_none(screen, order=order, to=to)
    assert printed(screen) == f"{said}\n"


def test_listed_text_cannot_move_the_cursor(screen: Console) -> None:
    mails.show_list(Page(data=[a_mail(failure="\x1b[2Jno\r\x07")]), screen)
    assert not set("\x1b\r\x07") & set(printed(screen))
