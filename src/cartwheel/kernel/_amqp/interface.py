"""What an AMQP client offers to the bus, and what it raises.

No method waits for RabbitMQ unless its docstring says so: output is sent in the next turn of the
event loop. RabbitMQ reports errors by closing the channel.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec

GOODBYE_SECONDS = 2.0
"""Seconds for RabbitMQ to confirm that a connection is closing. Before that, it may not have read
the last acknowledgements, and would redeliver those messages."""


class AmqpError(Exception):
    """An operation failed at RabbitMQ or on the way to it."""


class BadUrl(AmqpError):
    """A URL has an option that the client does not know. The message names it, without the URL."""


class ConnectionLost(AmqpError, ConnectionError):
    """The connection or channel is closed. Messages in flight may or may not have arrived."""


class AccessRefused(AmqpError, ConnectionError):
    """RabbitMQ refuses this user, or this password."""


class VirtualHostRefused(AmqpError, ConnectionError):
    """The virtual host is missing, or closed to this user."""


class QueueMissing(AmqpError):
    """There is no such queue, or no such exchange. The channel is closed."""


class NotTaken(AmqpError):
    """RabbitMQ has not accepted a message: a queue is full or failing."""


class Unroutable(NotTaken):
    """No queue is bound for a mandatory message."""


def exclusive_arguments(ttl_seconds: float) -> dict[str, str | int]:
    """Return the arguments of an exclusive queue. Its type is said, since a virtual host may have
    another default."""
    return {"x-queue-type": "classic", "x-message-ttl": int(ttl_seconds * 1000)}


OnReturn = Callable[[str], None]
"""Called with the `message_id` of a returned message. It must not raise."""


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A message to publish. A queue drops it after `expiration` milliseconds.

    Header values are those of an AMQP table: text, numbers, booleans, times, lists and tables.
    """

    body: bytes
    headers: Mapping[str, Any] | None = None
    content_type: str | None = "application/json"
    persistent: bool = False
    message_id: str | None = None
    type: str | None = None
    reply_to: str | None = None
    expiration: int | None = None


class Received(Protocol):
    """A received message, for either client."""

    @property
    def body(self) -> bytes: ...
    @property
    def content_type(self) -> str | None: ...
    @property
    def message_id(self) -> str | None: ...

    @property
    def headers(self) -> Mapping[str, Any]:
        """The headers.

        Raises:
            ValueError: they are no AMQP table.
        """
        ...


class Delivery(Received, Protocol):
    """A message from a queue; `redelivered` if it may have been delivered before."""

    @property
    def redelivered(self) -> bool: ...
    @property
    def type(self) -> str | None: ...
    @property
    def reply_to(self) -> str | None: ...

    def ack(self) -> None:
        """Acknowledge the message.

        Raises:
            ConnectionLost: RabbitMQ will deliver it again.
        """
        ...

    def reject(self, *, requeue: bool) -> None:
        """Return the message to its queue, or have it dead-lettered.

        Raises:
            ConnectionLost: RabbitMQ will deliver it again.
        """
        ...


class Channel(Protocol):
    """A channel. It closes for good at the first error, or if RabbitMQ cancels one of its consumers
    (because the queue was deleted, or its leader moved)."""

    @property
    def reads_on(self) -> bool:
        """Whether RabbitMQ is reading. If not, wait for `written` before sending more."""
        ...

    async def declare_exclusive(self, queue: str, *, ttl_seconds: float) -> None:
        """Declare a queue that only this connection can consume from, and that is deleted with it.

        Its messages expire after `ttl_seconds`.
        """
        ...

    async def bind(self, queue: str, *, exchange: str, routing_key: str) -> None:
        """Route messages with `routing_key` from `exchange` to `queue`. May be repeated.

        Raises:
            QueueMissing: there is no such queue, or no such exchange.
        """
        ...

    async def unbind(self, queue: str, *, exchange: str, routing_key: str) -> None:
        """Undo `bind`. May be repeated."""
        ...

    async def waiting_in(self, queue: str) -> int:
        """Return how many messages in `queue` have not been delivered.

        Raises:
            QueueMissing: there is no such queue.
        """
        ...

    async def set_prefetch(self, count: int) -> None:
        """Limit unacknowledged deliveries to `count` for each consumer that starts from now on."""
        ...

    async def consume(
        self, queue: str, on_delivery: Callable[[Delivery], None], *, no_ack: bool = False
    ) -> str:
        """Have each delivery handed to `on_delivery`, which must not raise; return the consumer's
        tag.

        Raises:
            QueueMissing: there is no such queue.
        """
        ...

    async def cancel(self, tag: str) -> None:
        """Cancel a consumer. When this returns, all its deliveries have been passed on."""
        ...

    def publish(
        self, message: Message, *, exchange: str = "", routing_key: str, mandatory: bool = False
    ) -> None:
        """Send `message` at most once, without learning whether it arrived.

        If no queue is bound for a `mandatory` one, the channel's `on_return` gets its `message_id`.

        Raises:
            ConnectionLost: it was not sent.
        """
        ...

    async def publish_confirmed(
        self, message: Message, *, exchange: str = "", routing_key: str, mandatory: bool
    ) -> None:
        """Send `message`. When this returns, all its queues have it on disk. May be repeated.

        It hangs during an alarm, so set a limit. Needs a channel with confirms.

        Raises:
            Unroutable: it is `mandatory`, and no queue is bound for it.
            NotTaken: a queue has refused it.
            ConnectionLost: it may or may not have arrived.
        """
        ...

    async def written(self) -> None:
        """Return when everything published or acknowledged has been passed to the operating system:
        after a turn of the event loop, or when RabbitMQ reads again.

        Raises:
            ConnectionLost: it may or may not have arrived.
        """
        ...

    async def closed(self) -> None:
        """Return when the channel or its connection is closed."""
        ...


class Connection(Protocol):
    async def channel(self, *, confirms: bool, on_return: OnReturn | None = None) -> Channel:
        """Open a channel: with publisher confirms, with `on_return` for mandatory messages, or with
        neither."""
        ...

    async def unblocked(self) -> None:
        """Return when RabbitMQ accepts messages: at once, or after its alarm.

        Raises:
            ConnectionLost: the connection is closed.
        """
        ...

    async def closed(self) -> None:
        """Return when the connection is closed."""
        ...

    async def close(self) -> None:
        """Close the connection properly. May be repeated."""
        ...
