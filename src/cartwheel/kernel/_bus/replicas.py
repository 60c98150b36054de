"""Which replicas of a service answer, as one caller knows them, and which one is asked next.

A caller finds replicas by a ping to all of them, every `PING_SECONDS` and when it knows of none.
One that owes an answer and is silent is pinged by its name. RabbitMQ returns that ping if its queue
is gone: so the caller learns within a second that the replica has died.
"""

import asyncio
import math
import time
from typing import Generic, TypeVar

from cartwheel.kernel._bus import topology

Sent = TypeVar("Sent")

PING_SECONDS = 2.0
SILENT_SECONDS = 0.4
"""Without a sign of a replica that owes an answer; then it is pinged by name."""
FROZEN_SECONDS = 1.0
"""Without an answer to a ping; then others get what is to be sent, and what is to be read."""
GIVEN_UP_SECONDS = 2.0
"""Without an answer to a ping; then its callers learn that they do not know what it has written."""
FORGOTTEN_SECONDS = 30.0
"""Without a sign of a replica whose queue is still there: its process is frozen, or cut off."""


class Replica(Generic[Sent]):
    """One process that answers what is sent with `routing_key`."""

    __slots__ = ("exchange", "heard_at", "name", "pinged_at", "sent", "service")

    def __init__(self, service: str, name: str, *, exchange: str = topology.REQUESTS) -> None:
        self.service = service
        self.name = name
        self.exchange = exchange
        self.sent: set[Sent] = set()
        """The messages that it has not answered."""
        self.heard_at = time.monotonic()
        self.pinged_at: float | None = None
        """When the first ping was sent that it has not answered."""

    def heard(self) -> None:
        """Note that it lives."""
        self.heard_at = time.monotonic()
        self.pinged_at = None

    def pinged(self, now: float) -> None:
        if self.pinged_at is None:
            self.pinged_at = now

    def is_frozen(self, now: float, seconds: float = FROZEN_SECONDS) -> bool:
        return self.pinged_at is not None and now - self.pinged_at > seconds

    def is_silent(self, now: float) -> bool:
        """Whether it owes an answer, has not been heard lately, and can be pinged by its name."""
        return bool(self.sent and self.exchange) and now - self.heard_at > SILENT_SECONDS


class Replicas(Generic[Sent]):
    """The replicas of `service`."""

    def __init__(self, service: str) -> None:
        self.service = service
        self.known: dict[str, Replica[Sent]] = {}
        self.found = asyncio.Event()
        """Set while there is somebody to ask."""
        self.missing_since: float | None = None
        """Since when nobody has answered, although somebody was asked for."""
        self._older: Replica[Sent] | None = None
        self._last_heard = -math.inf
        self._pinged_at = -math.inf
        self._asking = False

    def choose(self) -> Replica[Sent] | None:
        """Return who is asked next, or None if nobody is there: who has the fewest messages to
        answer, and of those who has had none for longest. A frozen one only if all are."""
        known = self.known
        if len(known) < 2:  # there is no choice
            return next(iter(known.values()), self._older)
        now = time.monotonic()
        chosen = min(known.values(), key=lambda each: (each.is_frozen(now), len(each.sent)))
        # To the end, so that the next one comes first.
        known[chosen.name] = known.pop(chosen.name)
        return chosen

    def is_due(self, now: float) -> bool:
        """Return whether it is time for a ping to all."""
        return now - self._pinged_at > PING_SECONDS

    def is_asked(self, now: float, *, within: float) -> bool:
        """Return whether the ping to all that is under way was sent `within` so many seconds."""
        return self._asking and now - self._pinged_at < within

    def pinged(self, now: float) -> None:
        """Note that all are pinged."""
        self._pinged_at = now
        self._asking = True
        for replica in self.known.values():
            replica.pinged(now)

    def answered(self, name: str) -> None:
        """Note that the replica `name` has answered a ping."""
        self._asking = False
        if (replica := self.known.get(name)) is not None:
            replica.heard()
            return
        self.known[name] = Replica(self.service, name)
        self._older = None
        self.found.set()

    def nobody(self) -> Replica[Sent] | None:
        """Note that RabbitMQ knows of no replica.

        Then one of the version before may be there, which takes its requests from a queue that all
        of its replicas share. Return it, to be pinged: that is returned if there is none.
        """
        self._asking = False
        if self.known:
            return None
        if self._older is None:
            shared = topology.shared_request_queue(self.service)
            self._older = Replica(self.service, shared, exchange="")
            self._older.heard_at = -math.inf
        else:  # its queue was there when it was pinged before
            self._older.heard()
        self.found.set()
        return self._older

    def forget(self, replica: Replica[Sent]) -> None:
        """Ask this one no more. May be repeated."""
        if self.known.get(replica.name) is replica:
            del self.known[replica.name]
            self._last_heard = max(self._last_heard, replica.heard_at)
        elif self._older is replica:
            self._older = None
        if not self.known and self._older is None:
            self.found.clear()

    def forget_older(self) -> None:
        if self._older is not None:
            self.forget(self._older)

    def forget_all(self) -> None:
        """Know of nobody, as before the first ping."""
        self._pinged_at, self._asking = -math.inf, False
        self.forget_older()
        for replica in list(self.known.values()):
            self.forget(replica)

    def forget_silent(self, now: float) -> None:
        """Forget who owes nothing and has long been silent."""
        for replica in list(self.known.values()):
            if not replica.sent and now - replica.heard_at > FORGOTTEN_SECONDS:
                self.forget(replica)

    def has_better(self, replica: Replica[Sent], now: float) -> bool:
        """Return whether another one is not frozen."""
        return any(not each.is_frozen(now) for each in self.known.values() if each is not replica)

    def answered_ago(self) -> float | None:
        """Return how many seconds ago one of them answered anything; None if none ever has."""
        heard = [self._last_heard, *(each.heard_at for each in self.known.values())]
        if self._older is not None:
            heard.append(self._older.heard_at)
        last = max(heard)
        return None if math.isinf(last) else time.monotonic() - last
