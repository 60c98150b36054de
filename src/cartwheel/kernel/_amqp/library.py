"""The interface over aiormq, the library that aio-pika is built on.

For those who prefer a widely used library to our client, and as a benchmark for it.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Generator, Mapping
from functools import partial
from typing import Any, cast

import aiormq
from aiormq import exceptions
from aiormq.abc import DeliveredMessage
from pamqp import commands
from yarl import URL

from cartwheel.kernel._amqp.interface import (
    AccessRefused,
    Channel,
    ConnectionLost,
    Delivery,
    Message,
    NotTaken,
    OnReturn,
    QueueMissing,
    Unroutable,
    VirtualHostRefused,
    exclusive_arguments,
)

_STALLED_AFTER = 0.05
"""Seconds after which a pending write means that RabbitMQ is not reading. aiormq has no signal."""


async def connect(url: str, *, name: str, heartbeat: int) -> "LibraryConnection":
    """See `connecting.connect`. The options in `url` are aiormq's."""
    with _translated():
        connection: Any = aiormq.Connection(URL(url).update_query(heartbeat=heartbeat))
        await connection.connect(client_properties={"connection_name": name})
    return LibraryConnection(connection)


class LibraryConnection:
    def __init__(self, connection: Any) -> None:
        # Any, here and below, where aiormq's declarations lack or miss a type.
        self._connection = connection

    async def channel(self, *, confirms: bool, on_return: OnReturn | None = None) -> Channel:
        # aiormq tells of what RabbitMQ has returned on a channel with confirms only.
        confirms = confirms or on_return is not None
        with _translated():
            channel = await self._connection.channel(
                publisher_confirms=confirms, on_return_raises=confirms
            )
        return _Channel(channel, on_return)

    async def unblocked(self) -> None:
        with _translated():
            await self._connection.ready()
        if self._connection.is_closed:
            raise ConnectionLost("the connection is closed")

    async def closed(self) -> None:
        await _ended(self._connection.closing)

    async def close(self) -> None:
        with contextlib.suppress(ConnectionLost), _translated():
            await self._connection.close()


class _Channel:
    def __init__(self, channel: Any, on_return: OnReturn | None = None) -> None:
        self._channel = channel
        self._on_return = on_return
        self._writing: dict[asyncio.Task[object], float] = {}
        """The start time of each pending write, oldest first."""
        channel.on_consumer_cancel_callbacks.add(self._on_cancel)

    @property
    def reads_on(self) -> bool:
        oldest = next(iter(self._writing.values()), None)
        return oldest is None or time.monotonic() - oldest < _STALLED_AFTER

    async def declare_exclusive(self, queue: str, *, ttl_seconds: float) -> None:
        with _translated():
            await self._channel.queue_declare(
                queue, exclusive=True, arguments={**exclusive_arguments(ttl_seconds)}
            )

    async def bind(self, queue: str, *, exchange: str, routing_key: str) -> None:
        with _translated():
            await self._channel.queue_bind(queue, exchange, routing_key)

    async def unbind(self, queue: str, *, exchange: str, routing_key: str) -> None:
        with _translated():
            await self._channel.queue_unbind(queue, exchange, routing_key)

    async def waiting_in(self, queue: str) -> int:
        with _translated():
            answer = await self._channel.queue_declare(queue, passive=True)
        return int(answer.message_count)

    async def set_prefetch(self, count: int) -> None:
        with _translated():
            await self._channel.basic_qos(prefetch_count=count)

    async def consume(
        self, queue: str, on_delivery: Callable[[Delivery], None], *, no_ack: bool = False
    ) -> str:
        async def on_message(message: DeliveredMessage) -> None:
            on_delivery(_Incoming(message, self))

        with _translated():
            answer = await self._channel.basic_consume(queue, on_message, no_ack=no_ack)
        return str(answer.consumer_tag)

    async def cancel(self, tag: str) -> None:
        with _translated():
            await self._channel.basic_cancel(tag)

    def publish(
        self, message: Message, *, exchange: str = "", routing_key: str, mandatory: bool = False
    ) -> None:
        self.write(
            self._channel.basic_publish(
                message.body,
                exchange=exchange,
                routing_key=routing_key,
                properties=_properties(message),
                mandatory=mandatory,
            ),
            message_id=message.message_id,
        )

    async def publish_confirmed(
        self, message: Message, *, exchange: str = "", routing_key: str, mandatory: bool
    ) -> None:
        with _translated():
            # Many leave together: what is waited for is the confirm, not the socket after each.
            await self._channel.basic_publish(
                message.body,
                exchange=exchange,
                routing_key=routing_key,
                properties=_properties(message),
                mandatory=mandatory,
                wait=False,
            )

    async def written(self) -> None:
        if self._writing:
            await asyncio.wait(set(self._writing))
        self.check()

    async def closed(self) -> None:
        await _ended(self._channel.closing)

    def check(self) -> None:
        if self._channel.is_closed:
            raise ConnectionLost("the channel is closed")

    def write(self, writing: Coroutine[Any, Any, object], *, message_id: str | None = None) -> None:
        """Have `writing` done, in order. What fails then, fails with the connection; `on_return`
        gets the `message_id` of what is returned."""
        try:
            self.check()
        except ConnectionLost:
            writing.close()
            raise
        task = asyncio.create_task(writing)
        self._writing[task] = time.monotonic()
        task.add_done_callback(partial(self._written, message_id))

    def _written(self, message_id: str | None, task: asyncio.Task[object]) -> None:
        del self._writing[task]
        if task.cancelled():
            return
        returned = isinstance(task.exception(), exceptions.PublishError)
        if returned and message_id is not None and self._on_return is not None:
            self._on_return(message_id)

    def _on_cancel(self, _: object) -> None:
        # Not at once: the channel's reader, which calls this, ends with the channel.
        self.write(self._channel.close())


class _Incoming:
    def __init__(self, message: DeliveredMessage, channel: _Channel) -> None:
        self._message = message
        self._properties = message.header.properties
        self._acked_on: Any = message.channel
        self._channel = channel

    @property
    def body(self) -> bytes:
        return self._message.body

    @property
    def redelivered(self) -> bool:
        return bool(self._message.redelivered)

    @property
    def content_type(self) -> str | None:
        return self._properties.content_type

    @property
    def message_id(self) -> str | None:
        return self._properties.message_id

    @property
    def type(self) -> str | None:
        return self._properties.message_type

    @property
    def reply_to(self) -> str | None:
        return self._properties.reply_to

    @property
    def headers(self) -> Mapping[str, Any]:
        return self._properties.headers or {}

    def ack(self) -> None:
        self._channel.write(self._acked_on.basic_ack(self._tag))

    def reject(self, *, requeue: bool) -> None:
        self._channel.write(self._acked_on.basic_reject(self._tag, requeue=requeue))

    @property
    def _tag(self) -> int:
        return cast("int", self._message.delivery_tag)


def _properties(message: Message) -> commands.Basic.Properties:
    return commands.Basic.Properties(
        content_type=message.content_type,
        headers=None if message.headers is None else dict(message.headers),
        delivery_mode=2 if message.persistent else None,
        reply_to=message.reply_to,
        expiration=None if message.expiration is None else str(message.expiration),
        message_id=message.message_id,
        message_type=message.type,
    )


async def _ended(closing: asyncio.Future[Any]) -> None:
    await asyncio.wait({closing})


@contextlib.contextmanager
def _translated() -> Generator[None]:
    """Raise the interface's errors instead of aiormq's."""
    try:
        yield
    except exceptions.ChannelNotFoundEntity as error:
        raise QueueMissing(str(error)) from error
    except exceptions.PublishError as error:
        raise Unroutable("no queue is bound for the message") from error
    except exceptions.DeliveryError as error:
        raise NotTaken("a queue refuses the message") from error
    except (exceptions.AuthenticationError, exceptions.ProbableAuthenticationError) as error:
        raise AccessRefused(str(error)) from error
    except (
        exceptions.AMQPError,
        exceptions.ChannelInvalidStateError,
        RuntimeError,  # "closed"
        StopAsyncIteration,  # when it is closed before its first frame
    ) as error:
        # RabbitMQ closes the connection instead of opening the virtual host.
        refused = "['Connection.OpenOk']" in str(error)
        raise (VirtualHostRefused if refused else ConnectionLost)(repr(error)) from error
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        # aiormq cancels what waits for a connection that goes; nobody has cancelled this.
        raise ConnectionLost("the connection is closed") from error
