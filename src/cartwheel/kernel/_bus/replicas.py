"""The replicas of a service that a caller knows, and the choice of the next one.

A caller pings all replicas every `PING_SECONDS`, and whenever it knows of none. A silent replica
that owes an answer is also pinged by name. If its queue is gone, RabbitMQ returns that ping, so the
caller learns within a second that the replica has died.
"""

import asyncio
import math
import time
from typing import Generic, TypeVar

from cartwheel.kernel._bus import topology

Sent = TypeVar("Sent")

PING_SECONDS = 2.0
SILENT_SECONDS = 0.4
"""A replica that owes an answer and is silent for this long is pinged by name."""
FROZEN_SECONDS = 1.0
"""A replica that leaves a ping unanswered for this long counts as frozen: other replicas get new
messages, and the reads that it owes."""
GIVEN_UP_SECONDS = 2.0
"""After an unanswered ping for this long, pending writes fail with an unknown outcome."""
FORGOTTEN_SECONDS = 30.0
"""A replica silent for this long is forgotten, though its queue exists: it is frozen or cut off."""


class Replica(Generic[Sent]):
    """A process that answers requests sent with `routing_key`."""

    __slots__ = ("exchange", "heard_at", "name", "pinged_at", "sent", "service")

    def __init__(self, service: str, name: str, *, exchange: str = topology.REQUESTS) -> None:
        self.service = service
        self.name = name
        self.exchange = exchange
        self.sent: set[Sent] = set()
        """Its unanswered messages."""
        self.heard_at = time.monotonic()
        self.pinged_at: float | None = None
        """When its first unanswered ping was sent."""

    def heard(self) -> None:
        """Note a sign of life."""
        self.heard_at = time.monotonic()
        self.pinged_at = None

    def pinged(self, now: float) -> None:
        if self.pinged_at is None:
            self.pinged_at = now

    def is_frozen(self, now: float, seconds: float = FROZEN_SECONDS) -> bool:
        return self.pinged_at is not None and now - self.pinged_at > seconds

    def is_silent(self, now: float) -> bool:
        """Whether it owes an answer, has been silent lately, and can be pinged by name."""
        return bool(self.sent and self.exchange) and now - self.heard_at > SILENT_SECONDS


class Replicas(Generic[Sent]):
    """The replicas of `service`."""

    def __init__(self, service: str) -> None:
        self.service = service
        self.known: dict[str, Replica[Sent]] = {}
        self.found = asyncio.Event()
        """Set while a replica is known."""
        self.missing_since: float | None = None
        """Since when no replica has answered, although one was needed."""
        self._older: Replica[Sent] | None = None
        self._last_heard = -math.inf
        self._pinged_at = -math.inf
        self._asking = False

    def choose(self) -> Replica[Sent] | None:
        """Return the replica to ask next: the one with the fewest unanswered messages, and among
        those the least recently chosen. A frozen one only if all are; None if none is known."""
        known = self.known
        if len(known) < 2:  # there is no choice
            return next(iter(known.values()), self._older)
        now = time.monotonic()
        chosen = min(known.values(), key=lambda each: (each.is_frozen(now), len(each.sent)))
        # To the end, so that another one is chosen next time.
        known[chosen.name] = known.pop(chosen.name)
        return chosen

    def is_due(self, now: float) -> bool:
        """Return whether it is time to ping all replicas."""
        return now - self._pinged_at > PING_SECONDS

    def is_asked(self, now: float, *, within: float) -> bool:
        """Return whether the unanswered ping to all was sent less than `within` seconds ago."""
        return self._asking and now - self._pinged_at < within

    def pinged(self, now: float) -> None:
        """Note a ping to all replicas."""
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
        """Note that RabbitMQ has no queue of any replica.

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
        """Stop using this replica. May be repeated."""
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
        """Forget all replicas, as before the first ping."""
        self._pinged_at, self._asking = -math.inf, False
        self.forget_older()
        for replica in list(self.known.values()):
            self.forget(replica)

    def forget_silent(self, now: float) -> None:
        """Forget replicas that owe no answer and have long been silent."""
        for replica in list(self.known.values()):
            if not replica.sent and now - replica.heard_at > FORGOTTEN_SECONDS:
                self.forget(replica)

    def has_better(self, replica: Replica[Sent], now: float) -> bool:
        """Return whether another replica is not frozen."""
        return any(not each.is_frozen(now) for each in self.known.values() if each is not replica)

    def answered_ago(self) -> float | None:
        """Return how many seconds ago any replica answered; None if none ever has."""
        heard = [self._last_heard, *(each.heard_at for each in self.known.values())]
        if self._older is not None:
            heard.append(self._older.heard_at)
        last = max(heard)
        return None if math.isinf(last) else time.monotonic() - last
