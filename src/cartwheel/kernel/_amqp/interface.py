"""What an AMQP client offers to the bus, and what it raises.

Nothing here waits for RabbitMQ unless its docstring says so: what is written leaves when the event
loop next turns. RabbitMQ tells of errors by closing the channel.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec

GOODBYE_SECONDS = 2.0
"""For RabbitMQ to answer that it closes a connection. Until then it may not have read the last
acknowledgements, and what it has not read comes again."""


class AmqpError(Exception):
    """Something that RabbitMQ, or the way to it, refuses."""


class BadUrl(AmqpError):
    """A URL asks for what the client does not know. The message says what, without the URL."""


class ConnectionLost(AmqpError, ConnectionError):
    """The connection or the channel is closed. What was in flight may or may not have arrived."""


class AccessRefused(AmqpError, ConnectionError):
    """RabbitMQ refuses this user, or this password."""


class VirtualHostRefused(AmqpError, ConnectionError):
    """The virtual host is missing, or closed to this user."""


class QueueMissing(AmqpError):
    """There is no such queue, or no such exchange. The channel is closed."""


class NotTaken(AmqpError):
    """RabbitMQ has not taken a message: a queue refuses it, because it is full or in trouble."""


class Unroutable(NotTaken):
    """No queue is bound for a mandatory message."""


def exclusive_arguments(ttl_seconds: float) -> dict[str, str | int]:
    """Return the arguments of an exclusive queue. Its type is said, since a virtual host may have
    another default."""
    return {"x-queue-type": "classic", "x-message-ttl": int(ttl_seconds * 1000)}


OnReturn = Callable[[str], None]
"""Takes the `message_id` of a message that RabbitMQ has returned. It must not raise."""


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """What is published. `expiration` is in milliseconds, after which a queue forgets it.

    Header values are what AMQP's tables take: text, numbers, booleans, times, lists and tables.
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
    """What can be read of a message that came, by whichever client."""

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
    """One channel. It closes for good at the first error, and when RabbitMQ cancels one of its
    consumers (because the queue was deleted, or its leader moved)."""

    @property
    def reads_on(self) -> bool:
        """Whether RabbitMQ reads what is written. If not, wait for `written` before more."""
        ...

    async def declare_exclusive(self, queue: str, *, ttl_seconds: float) -> None:
        """Declare a queue that this connection alone may consume from, and that goes with it.

        Its messages are forgotten after `ttl_seconds`.
        """
        ...

    async def bind(self, queue: str, *, exchange: str, routing_key: str) -> None:
        """Have `exchange` route messages with `routing_key` to `queue`. May be repeated.

        Raises:
            QueueMissing: there is no such queue, or no such exchange.
        """
        ...

    async def unbind(self, queue: str, *, exchange: str, routing_key: str) -> None:
        """End what `bind` began. May be repeated."""
        ...

    async def waiting_in(self, queue: str) -> int:
        """Return how many messages of `queue` have not been delivered.

        Raises:
            QueueMissing: there is no such queue.
        """
        ...

    async def set_prefetch(self, count: int) -> None:
        """Have at most `count` deliveries in hand, of each consumer that begins from now on."""
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
        """End a consumer. All that was delivered to it has been handed over when this returns."""
        ...

    def publish(
        self, message: Message, *, exchange: str = "", routing_key: str, mandatory: bool = False
    ) -> None:
        """Send `message`, at most once: nobody tells whether it arrived.

        If no queue is bound for a `mandatory` one, the channel's `on_return` gets its `message_id`.

        Raises:
            ConnectionLost: it has not left.
        """
        ...

    async def publish_confirmed(
        self, message: Message, *, exchange: str = "", routing_key: str, mandatory: bool
    ) -> None:
        """Send `message`; when this returns, all its queues have it on disk. May be repeated.

        During an alarm RabbitMQ is silent, so give it a limit. For channels with confirms.

        Raises:
            Unroutable: it is `mandatory`, and no queue is bound for it.
            NotTaken: a queue has refused it.
            ConnectionLost: it may or may not have arrived.
        """
        ...

    async def written(self) -> None:
        """Return when all that was published or acknowledged is with the operating system: after
        a turn of the loop, or when RabbitMQ reads again.

        Raises:
            ConnectionLost: it may or may not have arrived.
        """
        ...

    async def closed(self) -> None:
        """Return when the channel or its connection is closed."""
        ...


class Connection(Protocol):
    async def channel(self, *, confirms: bool, on_return: OnReturn | None = None) -> Channel:
        """Open a channel: with publisher confirms, or with `on_return` for what `publish` sends
        mandatory, or with neither."""
        ...

    async def unblocked(self) -> None:
        """Return when RabbitMQ takes messages: at once, or after its alarm.

        Raises:
            ConnectionLost: the connection is closed.
        """
        ...

    async def closed(self) -> None:
        """Return when the connection is closed."""
        ...

    async def close(self) -> None:
        """Say goodbye and close. May be repeated."""
        ...
