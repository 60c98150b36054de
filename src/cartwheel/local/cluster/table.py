"""The processes of the cluster, as rows of a table."""

from collections.abc import Iterator, Sequence
from contextlib import suppress

import msgspec
from rich.table import Table

from cartwheel.local.cluster.faults import Faults, State
from cartwheel.local.supervisor import Supervisor


class Row(msgspec.Struct, frozen=True):
    """One process: name, address, process id (0 while it is down) and state."""

    name: str
    where: str
    pid: int
    state: State


def rows(faults: Faults, supervisor: Supervisor) -> Iterator[Row]:
    for name in sorted(supervisor.names):
        pid = 0
        with suppress(ProcessLookupError):
            pid = supervisor.pid(name)
        yield Row(name, supervisor.command(name).where, pid, faults.state(name))


def table(entries: Sequence[Row]) -> Table:
    """Return the table. Processes with a fault stand out."""
    shown = Table("what", "where", "process", "state", title_justify="left")
    for row in entries:
        style = "" if row.state is State.RUNNING else "bold red"
        shown.add_row(row.name, row.where, str(row.pid or ""), row.state, style=style)
    return shown
