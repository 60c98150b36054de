"""Parked messages and audit lines, for people and for programs."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any

import msgspec
from rich.console import Console
from rich.json import JSON
from rich.text import Text

from cartwheel.operations import tables
from cartwheel.operations.dead_letters.audit import Action, Line
from cartwheel.operations.dead_letters.parked import Parked
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
"""Rows that are laid out together: a list that is printed whole would fill the memory."""


def brief(parked: Parked) -> dict[str, Any]:
    return {
        "service": parked.service,
        "id": parked.id,
        "type": parked.type,
        "subject": parked.subject,
        "reason": parked.reason,
        "attempts": parked.attempts,
        "since": parked.since,
        "happened": parked.happened,
        "replayed": parked.replayed,
    }


def whole(parked: Parked) -> dict[str, Any]:
    return {**brief(parked), "headers": parked.headers, "payload": parked.payload}


def as_json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def show_some(letters: Sequence[Parked], console: Console, *, header: bool) -> None:
    """Print a piece of a list that goes on."""
    tables.show(_LIST, [_row(each) for each in letters], console, header=header)


def _row(parked: Parked) -> tuple[str, ...]:
    since = _time(parked.since) if parked.since else f"after {(parked.happened or '?')[:13]}"
    tries = f"{parked.attempts}" + (f"+{parked.replayed}" if parked.replayed else "")
    about = (parked.service, parked.id, parked.type or "?", parked.subject or "?")
    return (*about, parked.reason, tries, since)


def show_whole(parked: Parked, console: Console) -> None:
    """Print it line by line, none of them broken: what is in it is copied."""
    told = Text()
    for name, value in brief(parked).items():
        told.append(f"{name}: ", style="bold")
        told.append(f"{value}\n")
    headers = {name: value for name, value in parked.headers.items() if name != "stack"}
    told.append("headers\n", style="bold").append(JSON(as_json(headers)).text).append("\n")
    told.append("payload\n", style="bold").append(JSON(as_json(parked.payload)).text).append("\n")
    if parked.stack:
        told.append("stack\n", style="bold").append(parked.stack)
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
        console.print("Nothing was replayed or dropped.", highlight=False)


async def show_audit_json(lines: AsyncIterator[Line], console: Console) -> None:
    """Print an array, an element a line; what was dropped is in it."""
    before = "["
    async for line in lines:
        console.out(before + as_json(line), highlight=False)
        before = ","
    console.out("[]" if before == "[" else "]", highlight=False)


def say(line: Line, console: Console) -> None:
    """Print an audit line as it is kept, but for the message."""
    told = msgspec.to_builtins(msgspec.structs.replace(line, message=None))
    del told["message"]
    console.print(Text(as_json(told)), soft_wrap=True)


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}"
