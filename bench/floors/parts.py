"""Repeats one kind of step of a purchase, with as little other work as possible.

    python -m bench.floors.parts KIND URL SECONDS

It prints the number of repetitions and the CPU-seconds of this process as JSON. Messages are plain
AMQP frames, and HTTP requests plain bytes, on a blocking socket. Documents go through MongoDB's
driver, in commands of `BATCH` as with 128 customers; there the driver costs little.
"""

import asyncio
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import closing, suppress
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import msgspec
import uvloop
from pamqp import commands, frame, header
from pymongo import AsyncMongoClient, UpdateOne
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.read_concern import ReadConcern

from bench.floors.mongo import DATABASE, DURABLE, Document
from bench.results import Unit
from cartwheel.contracts.identity import User
from cartwheel.contracts.orders import OrderView, PlaceOrder
from cartwheel.contracts.products import Item
from cartwheel.kernel.mongodb import from_document, to_document

BATCH = 16
"""Documents in one command, and messages in one write to the socket."""

SHARED = 8
"""Requests in one message."""

EVENTS, REQUESTS = "bench_floor_events", "bench_floor_requests"
_IN_FLIGHT = 4
_SILENCE = 2.0
"""Seconds of silence after which a backlog counts as delivered."""
_EVENT = b"x" * 900
"""About as long as `order.paid`."""
_REQUEST = b"x" * 400 * SHARED
_MAIL = b"x" * 3000
_CHANNEL = 1
_METHOD, _HEADER = 1, 2
_BASIC = 60
_DELIVER, _ACK = 60, 80


class Done(msgspec.Struct, frozen=True):
    times: int
    cpu: float

    def unit(self, client: float, *, mongod: float = 0.0, rabbitmq: float = 0.0) -> Unit:
        """Return the cost of one repetition, from the CPU-seconds of all."""
        return Unit(*(1e6 * spent / self.times for spent in (client, mongod, rabbitmq)))


class Amqp:
    """A channel on a blocking socket. Reads time out after `silence` seconds."""

    def __init__(self, url: str, silence: float | None = None) -> None:
        where = urlsplit(url)
        self._socket = socket.create_connection((where.hostname, where.port), silence)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""
        self.send(header.ProtocolHeader().marshal())
        self._socket.recv(1 << 16)  # start
        plain = f"\0{where.username}\0{where.password}"
        self.call(commands.Connection.StartOk({}, "PLAIN", plain, "en_US"), 0)  # tune
        tuned = commands.Connection.TuneOk(2047, 131072, 0)
        self.send(frame.marshal(tuned, 0))
        self.call(commands.Connection.Open("/"), 0)
        self.call(commands.Channel.Open())

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def call(self, method: frame.FrameTypes, channel: int = _CHANNEL) -> None:
        self.send(frame.marshal(method, channel))
        self._socket.recv(1 << 16)

    def come(self) -> Generator[tuple[int, bytes]]:
        """Wait for data, and yield the frames in it: type and payload.

        Raises:
            TimeoutError: no data arrived in time.
        """
        self._buffer += self._socket.recv(1 << 18)
        at, data = 0, self._buffer
        while len(data) - at >= 7:
            end = at + 7 + int.from_bytes(data[at + 3 : at + 7], "big")
            if len(data) <= end:
                break
            yield data[at], data[at + 7 : end]
            at = end + 1
        self._buffer = data[at:]

    def close(self) -> None:
        self._socket.close()


def _message(body: bytes, queue: str, properties: commands.Basic.Properties) -> bytes:
    parts = (
        commands.Basic.Publish(exchange="", routing_key=queue),
        header.ContentHeader(0, len(body), properties),
    )
    raw = b"".join(frame.marshal(part, _CHANNEL) for part in parts)
    size = len(body).to_bytes(4, "big")
    return raw + b"\x03" + _CHANNEL.to_bytes(2, "big") + size + body + b"\xce"


def _is(kind: int, payload: bytes, method: int) -> bool:
    return (
        kind == _METHOD
        and int.from_bytes(payload[:2], "big") == _BASIC
        and int.from_bytes(payload[2:4], "big") == method
    )


def publish(url: str, until: float) -> int:
    """Publish events: persistent, to a quorum queue, confirmed."""
    properties = commands.Basic.Properties(
        content_type="application/json", delivery_mode=2, headers={"cloudEvents_id": "x" * 36}
    )
    batch = _message(_EVENT, EVENTS, properties) * BATCH
    sent = confirmed = 0
    with closing(Amqp(url)) as amqp:
        amqp.call(
            commands.Queue.Declare(queue=EVENTS, durable=True, arguments={"x-queue-type": "quorum"})
        )
        amqp.call(commands.Confirm.Select())
        while time.perf_counter() < until:
            amqp.send(batch)
            sent += BATCH
            while confirmed < sent:
                for kind, payload in amqp.come():
                    if _is(kind, payload, _ACK):
                        confirmed = max(confirmed, int.from_bytes(payload[4:12], "big"))
    return confirmed


def consume(url: str, until: float) -> int:
    """Consume the events that `publish` left, and acknowledge each batch that arrives."""
    count, tag = 0, 0
    # The backlog may be empty before the time is up.
    with closing(Amqp(url, _SILENCE)) as amqp, suppress(TimeoutError):
        amqp.call(commands.Basic.Qos(prefetch_count=256))
        amqp.call(commands.Basic.Consume(queue=EVENTS))
        while time.perf_counter() < until:
            for kind, payload in amqp.come():
                if _is(kind, payload, _DELIVER):
                    named = 5 + payload[4]
                    tag = int.from_bytes(payload[named : named + 8], "big")
                    count += 1
            amqp.send(frame.marshal(commands.Basic.Ack(delivery_tag=tag, multiple=True), _CHANNEL))
    return count


def forget_events(url: str) -> None:
    with closing(Amqp(url)) as amqp:
        amqp.call(commands.Queue.Delete(queue=EVENTS))


def ask(url: str, until: float) -> int:
    """Send requests, `SHARED` in a message, and read their answers."""
    reply = commands.Basic.Properties(reply_to="amq.rabbitmq.reply-to")
    batch = _message(_REQUEST, REQUESTS, reply) * _IN_FLIGHT
    count = 0
    with closing(Amqp(url)) as amqp:
        amqp.call(commands.Basic.Consume(queue="amq.rabbitmq.reply-to", no_ack=True))
        while time.perf_counter() < until:
            amqp.send(batch)
            awaited = _IN_FLIGHT
            while awaited:
                awaited -= sum(_is(kind, payload, _DELIVER) for kind, payload in amqp.come())
            count += _IN_FLIGHT * SHARED
    return count


def answer(url: str) -> None:
    """Answer the requests of `ask`, until this process is ended."""
    with closing(Amqp(url)) as amqp:
        amqp.call(commands.Queue.Declare(queue=REQUESTS, auto_delete=True))
        amqp.call(commands.Basic.Consume(queue=REQUESTS, no_ack=True))
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        to: dict[bytes, bytes] = {}
        while True:
            answers = 0
            reply = b""
            for kind, payload in amqp.come():
                if kind != _HEADER:
                    continue
                answers += 1
                if (reply := to.get(payload, b"")) == b"":
                    raw = b"\x02" + _CHANNEL.to_bytes(2, "big") + len(payload).to_bytes(4, "big")
                    properties: Any = frame.unmarshal(raw + payload + b"\xce")[2]
                    name = str(properties.properties.reply_to)
                    reply = _message(_REQUEST, name, commands.Basic.Properties())
                    to[payload] = reply
            if answers:
                amqp.send(reply * answers)


def post(url: str, until: float) -> int:
    """Do the client's side of an HTTP exchange with the size of a mail."""
    where = urlsplit(url)
    head = f"POST / HTTP/1.1\r\nHost: bench\r\nContent-Length: {len(_MAIL)}\r\n\r\n"
    request = head.encode() + _MAIL
    count = 0
    with closing(socket.create_connection((where.hostname, where.port))) as connection:
        while time.perf_counter() < until:
            connection.sendall(request)
            there = b""
            while b"\r\n\r\n" not in there:
                there += connection.recv(1 << 16)
            count += 1
    return count


def code(_: str, until: float) -> int:
    """Read an order from JSON and from a document, and write both.

    This is about what each step of a purchase decodes and encodes.
    """
    user = User(id="u" * 36, name="Grace Hopper", email="grace@example.com")
    asked = PlaceOrder(
        request_id="r" * 36,
        body_hash="h" * 64,
        user=user,
        items=[Item(product_id="prd_" + "0" * 32, quantity=1)] * 2,
    )
    sent = msgspec.json.encode(asked)
    document = _order()
    count = 0
    while time.perf_counter() < until:
        msgspec.json.decode(sent, type=PlaceOrder)
        msgspec.json.encode(from_document(document, OrderView))
        to_document(from_document(document, OrderView))
        count += 1
    return count


def _order() -> Document:
    line = {
        "product_id": "prd_" + "0" * 32,
        "name": "Wooden top no. 17",
        "quantity": 2,
        "unit_price": {"amount": 1999, "currency": "USD"},
    }
    now = datetime.now(UTC)
    return {
        "_id": "ord_" + "0" * 32,
        "number": "PB6G1-EF32P",
        "user": {"id": "u" * 36, "name": "Grace Hopper", "email": "grace@example.com"},
        "lines": [line, line],
        "adjustments": [],
        "total": {"amount": 5997, "currency": "USD"},
        "status": "AWAITING_PAYMENT",
        "shipping_address": None,
        "fulfillment": {"status": "UNFULFILLED", "tracking": None},
        "payment_attempts": 0,
        "expires_at": None,
        "version": 1,
        "created_at": now,
        "updated_at": now,
    }


class Documents:
    """One method per kind of write; each returns the number of documents that it wrote.

    `who` is the number of the writing task. Each task has its own documents, so that none waits for
    another's lock.
    """

    def __init__(self, client: AsyncMongoClient[Document]) -> None:
        self._client = client
        self._database = client.get_database(DATABASE, write_concern=DURABLE)
        self._written: dict[int, list[str]] = {}
        self._products: list[str] = []

    async def prepare(self) -> None:
        found = self._database["products"].find({}, {"_id": 1})
        self._products = [each["_id"] async for each in found]
        for who in range(_IN_FLIGHT):
            await self.insert(who)

    async def insert(self, who: int) -> int:
        """Orders inserted."""
        orders = [{**_order(), "_id": uuid4().hex} for _ in range(BATCH)]
        await self._database["written"].insert_many(orders, ordered=False)
        self._written[who] = [each["_id"] for each in orders]
        return BATCH

    async def update(self, who: int) -> int:
        """Update orders by id, if their version is still the one that was read."""
        changes = [
            UpdateOne(
                {"_id": each, "version": {"$gte": 1}},
                {"$inc": {"version": 1}, "$set": {"note": uuid4().hex * 6}},
            )
            for each in self._written[who]
        ]
        await self._database["written"].bulk_write(changes, ordered=False)
        return BATCH

    async def reserve(self, who: int) -> int:
        """Update the products of `BATCH` orders of two lines in a transaction."""
        mine = self._products[who * 2 * BATCH : (who + 1) * 2 * BATCH]

        async def body(session: AsyncClientSession) -> None:
            changes = [UpdateOne({"_id": each}, {"$inc": {"stock.available": -1}}) for each in mine]
            await self._database["products"].bulk_write(changes, ordered=False, session=session)

        async with self._client.start_session() as session:
            await session.with_transaction(
                body, read_concern=ReadConcern("snapshot"), write_concern=DURABLE
            )
        return len(mine)


async def write(kind: str, url: str, seconds: float) -> Done:
    async with AsyncMongoClient[Document](url) as client:
        documents = Documents(client)
        await documents.prepare()
        call: Callable[[int], Awaitable[int]] = getattr(documents, kind)
        count, until, began = 0, time.perf_counter() + seconds, time.process_time()

        async def again_and_again(who: int) -> None:
            nonlocal count
            while time.perf_counter() < until:
                written = await call(who)
                count += written  # after the await, because other tasks change `count` meanwhile

        await asyncio.gather(*map(again_and_again, range(_IN_FLIGHT)))
        return Done(count, time.process_time() - began)


_ALONE: dict[str, Callable[[str, float], int]] = {
    "publish": publish,
    "consume": consume,
    "ask": ask,
    "post": post,
    "code": code,
}


def main() -> None:
    kind, url, seconds = sys.argv[1:]
    if kind == "answer":
        answer(url)
    if kind in _ALONE:
        began = time.process_time()
        count = _ALONE[kind](url, time.perf_counter() + float(seconds))
        done = Done(count, time.process_time() - began)
    else:
        done = uvloop.run(write(kind, url, float(seconds)))
    sys.stdout.write(f"{msgspec.json.encode(done).decode()}\n")


if __name__ == "__main__":
    main()
