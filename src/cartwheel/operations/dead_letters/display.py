"""Parked messages and audit lines, for people and for programs."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any

import msgspec
from rich.console import Console
from rich.json import JSON
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from cartwheel.operations.dead_letters.audit import Action, Line
from cartwheel.operations.dead_letters.parked import Parked

_LIST = {
    "service": 13,
    "id": 36,
    "event": 24,
    "subject": 36,
    "reason": None,
    "tries": 5,
    "since": 19,
}
_AUDIT = {"when": 19, "who": 12, "action": 8, "service": 13, "id": 36, "why": None, "done": 5}

_PIECE = 200
"""Rows that are laid out together: a table that is printed whole would fill the memory."""


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
    """Print a piece of a table that goes on: every piece has the same columns."""
    table = _table(_LIST, header)
    for each in letters:
        since = _time(each.since) if each.since else f"after {(each.happened or '?')[:13]}"
        tries = f"{each.attempts}" + (f"+{each.replayed}" if each.replayed else "")
        cells = (each.service, each.id, each.type or "?", each.subject or "?", each.reason)
        table.add_row(*(Text(cell) for cell in (*cells, tries, since)))
    console.print(table)


def show_whole(parked: Parked, console: Console) -> None:
    told = Text()
    for name, value in brief(parked).items():
        told.append(f"{name}: ", style="bold")
        told.append(f"{value}\n")
    console.print(Panel(told, title=f"parked for {parked.service}", title_align="left"))
    headers = {name: value for name, value in parked.headers.items() if name != "stack"}
    console.print("[bold]headers[/]", JSON(as_json(headers)))
    console.print("[bold]payload[/]", JSON(as_json(parked.payload)))
    if parked.stack:
        console.print("[bold]stack[/]", Text(parked.stack), sep="\n")


async def show_audit(lines: AsyncIterator[Line], console: Console) -> None:
    table = _table(_AUDIT, header=True)
    async for line in lines:
        if table.row_count == _PIECE:
            console.print(table)
            table = _table(_AUDIT, header=False)
        why = line.why if line.action is Action.DROP else line.reason
        cells = (_time(line.at), line.who, line.action, line.service, line.event_id, why or "")
        table.add_row(*(Text(cell) for cell in cells), "yes" if line.done else "[red]no[/]")
    console.print(table)


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


def _table(columns: dict[str, int | None], header: bool) -> Table:
    table = Table(show_header=header, box=None, pad_edge=False)
    for name, width in columns.items():
        if width is None:
            table.add_column(name, ratio=1, min_width=20, overflow="fold")
        else:
            table.add_column(name, width=width, overflow="fold")
    return table


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}"
