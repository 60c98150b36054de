"""Lists for people: a table if it fits on the screen, otherwise one entry per item.

Only prose is wrapped. Text that people copy (ids, addresses) is never broken. In a pipe or a file,
each item is one line.
"""

from collections.abc import Sequence

import msgspec
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cartwheel.contracts import text

_READABLE = 20
"""In fewer columns than this, wrapped prose is unreadable."""

_GAP = 2


class Column(msgspec.Struct, frozen=True):
    """A column of a list. `prose` may be wrapped.

    `width` is the least width. It makes the columns line up in a long list, which is printed in
    pieces.
    """

    name: str
    width: int = 0
    prose: bool = False


def show(
    columns: Sequence[Column],
    rows: Sequence[Sequence[str]],
    console: Console,
    *,
    header: bool = True,
) -> None:
    """Print `rows`. `header` is False for a piece that continues a table."""
    # The text may come from anybody. It must not contain terminal control sequences.
    cells = [[text.one_line(cell, longest=len(cell)) for cell in row] for row in rows]
    if _least_width(columns, cells) <= console.width:
        console.print(_table(columns, cells, header))
    else:
        _show_entries(columns, cells, console)


def _least_width(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> int:
    widths = [
        max(column.width, *(cell_len(row[place]) for row in (_names(columns), *rows)))
        for place, column in enumerate(columns)
    ]
    least = [
        min(width, _READABLE) if column.prose else width
        for column, width in zip(columns, widths, strict=True)
    ]
    return sum(least) + _GAP * (len(columns) - 1)


def _table(columns: Sequence[Column], rows: Sequence[Sequence[str]], header: bool) -> Table:
    table = Table(show_header=header, box=None, pad_edge=False, padding=(0, _GAP, 0, 0))
    for column in columns:
        table.add_column(
            column.name,
            min_width=column.width,
            no_wrap=not column.prose,
            overflow="fold" if column.prose else "ignore",
        )
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


def _show_entries(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], console: Console
) -> None:
    longest = max(cell_len(name) for name in _names(columns))
    for row in rows:
        for name, cell in zip(_names(columns), row, strict=True):
            told = Text.assemble((name.ljust(longest), "bold"), " " * _GAP, cell)
            # The terminal wraps long lines, and copies them as one line.
            console.print(told, soft_wrap=True)
        console.print()


def _names(columns: Sequence[Column]) -> list[str]:
    return [column.name for column in columns]
