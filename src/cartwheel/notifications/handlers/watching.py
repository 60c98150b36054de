"""Watching the dead-letter queues, so that operations learn of what is in them."""

from collections.abc import Sequence

from cartwheel.kernel import Change, Clock, utc_now
from cartwheel.notifications import domain as rules
from cartwheel.notifications.domain import DeadQueue
from cartwheel.notifications.ports import DeadLetters, DeadQueues


async def watch_dead_letters(
    *,
    services: Sequence[str],
    letters: DeadLetters,
    queues: DeadQueues,
    now: Clock = utc_now,
) -> None:
    """Emit `DeadLettersFound` for each queue in which there are dead letters, and were none before.

    A queue that cannot be looked at does not stop the others.

    Raises:
        Exception: the last queue's that could not be looked at.
    """
    # Read first, count then: another replica's newer finding is never replaced by an older count.
    known = await queues.of(services)
    failure: Exception | None = None
    for queue in known.values():
        try:
            await _look(queue, letters, queues, now)
        except Exception as error:
            failure = error
    if failure is not None:
        raise failure


async def _look(queue: DeadQueue, letters: DeadLetters, queues: DeadQueues, now: Clock) -> None:
    count = await letters.count(queue.id)
    first = await letters.first(queue.id) if count and not queue.reported else None
    by = Change(by="dead letters", at=now())
    seen = rules.looked_at(queue, count, first, by)
    if seen is not queue:
        # If another replica was faster, the next look starts from what it has stored.
        await queues.save(seen, expected=queue)
