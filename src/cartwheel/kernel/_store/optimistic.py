"""Optimistic locking: a change is stored only if nobody else has changed the thing meanwhile.

Term: https://martinfowler.com/eaaCatalog/optimisticOfflineLock.html
"""

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

Thing = TypeVar("Thing")
Saved = TypeVar("Saved", contravariant=True)


class Save(Protocol[Saved]):
    def __call__(self, thing: Saved, /, *, expected: Saved) -> Awaitable[bool]:
        """Store `thing`; return False if what is stored is no longer `expected`."""
        ...


async def change_stored(
    find: Callable[[], Awaitable[Thing]],
    decide: Callable[[Thing], Thing],
    save: Save[Thing],
    *,
    known: Thing | None = None,
) -> Thing:
    """Read, decide and store; repeat if somebody else has changed the thing in between.

    `decide` returns its argument if there is nothing to change. `known`, the thing as last stored
    or read, saves the first read.
    """
    thing = await find() if known is None else known
    while True:
        changed = decide(thing)
        if changed is thing or await save(changed, expected=thing):
            return changed
        thing = await find()
