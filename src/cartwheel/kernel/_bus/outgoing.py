"""Requests on their way out: those of one type share a window.

While the window's few messages are in flight, further requests wait, and leave together as one
message. An idle window sends at once.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from cartwheel.kernel._bus import wire
from cartwheel.kernel._bus.replicas import Replica, Replicas
from cartwheel.kernel._core.messages import Request
from cartwheel.kernel.errors import Overloaded

ON_THE_WIRE = 2
"""Messages of coalesced requests that may be in flight. More would make the batches smaller."""
ALONE_ON_THE_WIRE = 256
PATIENCE_SECONDS = 1.0
"""Seconds after which an unanswered message no longer delays others of its type: its replica may
have died."""

BATCH_REQUESTS = 64
BATCH_BYTES = 256 * 1024
MOST_WAITING = 2_000
"""Requests of one type that may wait; one more is rejected at once."""


class Pending:
    """A request and its answer. Identical reads, which have the same `same`, share the answer.

    The answer is stored undecoded. A stored exception would form a reference cycle with its frames,
    which only the garbage collector frees.
    """

    __slots__ = ("body", "deadline", "future", "same", "sent", "wanted_by")

    def __init__(self, body: bytes, until: float, same: bytes | None) -> None:
        self.sent: Sent | None = None
        self.body = body
        self.deadline = until
        self.same = same
        self.wanted_by = 0
        self.future: asyncio.Future[wire.ReplyEnvelope] = asyncio.get_running_loop().create_future()

    def fail(self, error: Exception) -> None:
        """Raise `error` for all callers, unless the answer came first."""
        if not self.future.done():
            self.future.set_exception(error)

    async def answered(self) -> wire.ReplyEnvelope:
        """Return the answer. Once all callers have given up, the request is dropped."""
        self.wanted_by += 1
        try:
            return await asyncio.shield(self.future)
        finally:
            self.wanted_by -= 1
            if not self.wanted_by:
                self.future.cancel()


class Sent:
    """A message sent to `replica`, until each of its requests is answered, has failed or was
    abandoned."""

    __slots__ = ("batch", "left", "message_id", "read", "replica")

    def __init__(
        self, message_id: str, batch: list[Pending], replica: Replica["Sent"], *, read: bool
    ) -> None:
        self.message_id = message_id
        self.batch = batch
        self.replica = replica
        self.read = read
        self.left = len(batch)
        replica.sent.add(self)

    def one_done(self) -> bool:
        """Return whether that was the last one."""
        self.left -= 1
        if self.left:
            return False
        self.replica.sent.discard(self)
        self.batch.clear()  # its requests refer to this
        return True

    def fail(self, error: type[Exception], text: str) -> None:
        for pending in self.batch:
            pending.fail(error(text))


class Outgoing:
    """The requests of one type, waiting or in flight.

    A `Batcher` has one batch in flight and waits for it. Here, several messages are in flight, and
    each request is answered by itself.
    """

    def __init__(
        self,
        kind: type[Request[Any]],
        replicas: Replicas["Sent"],
        send: Callable[[list[Pending]], None],
    ) -> None:
        self._service = kind.service
        self._replicas = replicas
        self._send = send
        self._batch = BATCH_REQUESTS if kind.coalesced else 1
        self._window = ON_THE_WIRE if kind.coalesced else ALONE_ON_THE_WIRE
        self.waiting: deque[Pending] = deque()
        self.shared: dict[bytes, Pending] = {}
        """The waiting reads, by their content."""
        self._on_the_wire = 0

    def put(self, pending: Pending) -> None:
        """Send `pending` now, or when earlier messages are answered.

        Raises:
            Overloaded: too many wait already.
        """
        if len(self.waiting) >= MOST_WAITING:
            raise Overloaded(f"{len(self.waiting)} requests wait for {self._service} already")
        self.waiting.append(pending)
        if pending.same is not None:
            self.shared[pending.same] = pending
        self.flush()

    def flush(self) -> None:
        # One message for each replica, or more.
        while self.waiting and self._on_the_wire < max(self._window, len(self._replicas.known)):
            batch = self._take()
            if not batch:
                return
            self._occupy(batch)
            self._send(batch)

    def fail_waiting(self, error: type[Exception], text: str) -> None:
        """Fail each request that has not been sent."""
        self.waiting, waiting = deque(), self.waiting
        self.shared.clear()
        for pending in waiting:
            pending.fail(error(text))

    def _occupy(self, batch: list[Pending]) -> None:
        """Count a message as in flight until it is answered, or for PATIENCE_SECONDS."""
        self._on_the_wire += 1
        left = len(batch)

        def one_done(_: asyncio.Future[Any]) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                impatient.cancel()
                free()

        def free() -> None:
            nonlocal left
            left = -1  # so that late answers do not free it again
            self._on_the_wire -= 1
            self.flush()

        impatient = asyncio.get_running_loop().call_later(PATIENCE_SECONDS, free)
        for pending in batch:
            pending.future.add_done_callback(one_done)

    def _take(self) -> list[Pending]:
        batch: list[Pending] = []
        size = 0
        while self.waiting and len(batch) < self._batch and size < BATCH_BYTES:
            pending = self.waiting.popleft()
            if pending.same is not None:
                self.shared.pop(pending.same, None)
            if not pending.future.done():  # its callers may have given up
                batch.append(pending)
                size += len(pending.body)
        return batch
