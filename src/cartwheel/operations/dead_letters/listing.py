"""`cartwheel dlq list`: the list of dead letters, read one window at a time."""

from collections.abc import AsyncIterator, Sequence

from aio_pika.abc import AbstractConnection
from rich.console import Console

from cartwheel.operations.dead_letters import display, queue
from cartwheel.operations.dead_letters.dead_letter import DeadLetter


async def dead_letters(
    connection: AbstractConnection, services: Sequence[str], *, limit: int
) -> AsyncIterator[list[DeadLetter]]:
    """Yield the first `limit` dead letters (0 for all), window by window. They stay queued."""
    left = limit or queue.EVERYTHING
    for service in services:
        if left == 0:
            return
        async with queue.fetching(connection, service, window=min(queue.WINDOW, left)) as windows:
            async for window in windows:
                some = [each.letter for each in window][:left]
                yield some
                left -= len(some)
                if left == 0:
                    break


async def show(
    connection: AbstractConnection, services: Sequence[str], *, limit: int, console: Console
) -> None:
    counts = await queue.counts(connection, services)
    shown = 0
    async for some in dead_letters(connection, services, limit=limit):
        display.show_some(some, console, header=shown == 0)
        shown += len(some)
    total = sum(counts.values())
    each = ", ".join(f"{service} {count}" for service, count in counts.items() if count)
    console.print(f"{total} dead-lettered" + (f" ({each})" if each else ""), highlight=False)
    if shown < total:
        console.print(f"These are the first {shown}. --limit 0 shows all.", highlight=False)


async def show_json(
    connection: AbstractConnection, services: Sequence[str], *, limit: int, console: Console
) -> None:
    """Print a JSON array, one element per line."""
    before = "["
    async for some in dead_letters(connection, services, limit=limit):
        for each in some:
            console.out(before + display.as_json(display.brief(each)), highlight=False)
            before = ","
    console.out("[]" if before == "[" else "]", highlight=False)
