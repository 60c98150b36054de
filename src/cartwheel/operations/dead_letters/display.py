"""Output of dead letters and audit lines, for people and for programs."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any

import msgspec
from rich.console import Console
from rich.json import JSON
from rich.text import Text

from cartwheel.operations import tables
from cartwheel.operations.dead_letters.audit import Action, Line
from cartwheel.operations.dead_letters.dead_letter import DeadLetter
from cartwheel.operations.tables import Column

_LIST = (
    Column("service", 13),
    Column("id", 36),
    Column("event", 24),
    Column("subject", 36),
    Column("reason", 20, prose=True),
    Column("tries", 5),
    Column("since", 19),
)
_AUDIT = (
    Column("when", 19),
    Column("who", 12),
    Column("action", 6),
    Column("service", 13),
    Column("id", 36),
    Column("why", 20, prose=True),
    Column("done", 4),
)

_PIECE = 200
"""Rows that are laid out together. A long list is printed in pieces, to save memory."""


def brief(letter: DeadLetter) -> dict[str, Any]:
    return {
        "service": letter.service,
        "id": letter.id,
        "type": letter.type,
        "subject": letter.subject,
        "reason": letter.reason,
        "attempts": letter.attempts,
        "since": letter.since,
        "happened": letter.happened,
        "replayed": letter.replayed,
    }


def whole(letter: DeadLetter) -> dict[str, Any]:
    return {**brief(letter), "headers": letter.headers, "payload": letter.payload}


def as_json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def show_some(letters: Sequence[DeadLetter], console: Console, *, header: bool) -> None:
    """Print one piece of a longer list."""
    tables.show(_LIST, [_row(each) for each in letters], console, header=header)


def _row(letter: DeadLetter) -> tuple[str, ...]:
    since = _time(letter.since) if letter.since else f"after {(letter.happened or '?')[:13]}"
    tries = f"{letter.attempts}" + (f"+{letter.replayed}" if letter.replayed else "")
    about = (letter.service, letter.id, letter.type or "?", letter.subject or "?")
    return (*about, letter.reason, tries, since)


def show_whole(letter: DeadLetter, console: Console) -> None:
    """Print all fields. Lines are not wrapped, so that their text can be copied."""
    told = Text()
    for name, value in brief(letter).items():
        told.append(f"{name}: ", style="bold")
        told.append(f"{value}\n")
    headers = {name: value for name, value in letter.headers.items() if name != "stack"}
    told.append("headers\n", style="bold").append(JSON(as_json(headers)).text).append("\n")
    told.append("payload\n", style="bold").append(JSON(as_json(letter.payload)).text).append("\n")
    if letter.stack:
        told.append("stack\n", style="bold").append(letter.stack)
    console.print(told, soft_wrap=True)


async def show_audit(lines: AsyncIterator[Line], console: Console) -> None:
    rows: list[tuple[str, ...]] = []
    shown = 0
    async for line in lines:
        if len(rows) == _PIECE:
            tables.show(_AUDIT, rows, console, header=shown == 0)
            shown += len(rows)
            rows = []
        why = line.why if line.action is Action.DROP else line.reason
        done = "yes" if line.done else "no"
        about = (_time(line.at), line.who, line.action, line.service, line.event_id)
        rows.append((*about, why or "", done))
    if rows:
        tables.show(_AUDIT, rows, console, header=shown == 0)
    elif not shown:
        console.print("Nothing was replayed or dropped so far.", highlight=False)


async def show_audit_json(lines: AsyncIterator[Line], console: Console) -> None:
    """Print a JSON array, one element per line, with the dropped messages."""
    before = "["
    async for line in lines:
        console.out(before + as_json(line), highlight=False)
        before = ","
    console.out("[]" if before == "[" else "]", highlight=False)


def say(line: Line, console: Console) -> None:
    """Print an audit line without its message."""
    told = msgspec.to_builtins(msgspec.structs.replace(line, message=None))
    del told["message"]
    console.print(Text(as_json(told)), soft_wrap=True)


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}"
