"""The customers of the purchase benchmark.

Each customer places an order, pays by card, and starts again when the order is PAID and its mail
is handed to SES.

    python -m bench.customers URL RABBITMQ_URL DATA CUSTOMERS SECONDS SEED

DATA is a JSON file with `tokens` of signed-in users and ids of `products`. The progress of an order
is read from the events `order.paid` and `notification.sent`, in the benchmark's own queue. These
two deliveries cost less than polling the gateway or MongoDB's change streams. An event is published
after its change is in the journal of a majority, so an order is PAID a little earlier than
measured, never later.

It prints `begin` when each customer has bought once, `end` when, SECONDS later, no new purchase
starts, and finally `Bought` as a line of JSON.
"""

import asyncio
import random
import sys
import time
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import aiormq
import msgspec
import uvloop
from aiormq.abc import DeliveredMessage

from cartwheel.contracts.notifications import NotificationSent
from cartwheel.contracts.orders import OrderPaid
from cartwheel.kernel.testing import EXCHANGE

BEGIN, END = "begin", "end"

_PATIENCE = 60.0
"""Seconds for one purchase. A mail may wait behind a backlog."""

_ORDER = '{"items":[{"product_id":"%s","quantity":1},{"product_id":"%s","quantity":2}]}'
_PAYMENT = (
    '{"order_id":"%s","method":{"type":"card","token":"pm_card_visa"},'
    '"shipping_address":{"name":"Grace Hopper","street":"Harbour Street","number":"9",'
    '"city":"Arlington","zip_code":"22201","country":"US"}}'
)


class Data(msgspec.Struct, frozen=True):
    tokens: list[str]
    products: list[str]


class Times(msgspec.Struct, frozen=True):
    """Milliseconds since the order was sent."""

    p50: float
    p99: float


class Bought(msgspec.Struct, frozen=True, kw_only=True):
    """The result. `purchases` and the times are of those that ended between `begin` and `end`.

    `total` and `statuses` are of all purchases, from the first to the last.
    """

    purchases: int
    seconds: float
    placed: Times
    answered: Times
    """When the payment was answered."""
    paid: Times
    mailed: Times
    total: int
    statuses: dict[str, int]


class Purchase(msgspec.Struct, frozen=True, kw_only=True):
    """The moments of one purchase, in seconds of one clock."""

    began: float
    placed: float
    answered: float
    paid: float
    mailed: float


class _Id(msgspec.Struct):
    id: str


class _Paid(msgspec.Struct):
    order: _Id


class _Sent(msgspec.Struct):
    order_id: str
    reason: str


_read_id = msgspec.json.Decoder(_Id).decode
_read_paid = msgspec.json.Decoder(_Paid).decode
_read_sent = msgspec.json.Decoder(_Sent).decode


class _Awaited(msgspec.Struct, frozen=True):
    """The moments at which an order becomes PAID, and its mail is handed to SES."""

    paid: asyncio.Future[float]
    mailed: asyncio.Future[float]


class _News:
    """The events of the orders that customers wait for."""

    def __init__(self) -> None:
        self._awaited: dict[str, _Awaited] = {}

    async def listen(self, channel: aiormq.abc.AbstractChannel) -> None:
        declared = await channel.queue_declare(exclusive=True, auto_delete=True)
        queue = str(declared.queue)
        for kind in (OrderPaid, NotificationSent):
            await channel.queue_bind(queue, EXCHANGE, kind.type)
        await channel.basic_consume(queue, self._on_event, no_ack=True)

    @contextmanager
    def of(self, order_id: str) -> Generator[_Awaited]:
        loop = asyncio.get_running_loop()
        self._awaited[order_id] = _Awaited(loop.create_future(), loop.create_future())
        try:
            yield self._awaited[order_id]
        finally:
            del self._awaited[order_id]

    async def _on_event(self, message: DeliveredMessage) -> None:
        now = time.perf_counter()
        if message.routing_key == OrderPaid.type:
            order_id, mailed = _read_paid(message.body).order.id, False
        else:
            sent = _read_sent(message.body)
            if sent.reason != OrderPaid.type:
                return
            order_id, mailed = sent.order_id, True
        if awaited := self._awaited.get(order_id):
            moment = awaited.mailed if mailed else awaited.paid
            if not moment.done():  # an event may be delivered twice
                moment.set_result(now)


class _Connection:
    """A keep-alive connection to the gateway, with as little work as HTTP allows."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def post(self, path: str, token: str, body: str) -> tuple[int, bytes]:
        """Return the answer's status and body. These routes' answers have a Content-Length."""
        self._writer.write(
            f"POST /api/v1{path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        return int(head[9:12]), await self._reader.readexactly(int(length))


class Shopping:
    """All customers' purchases, from the first to the last."""

    def __init__(self, data: Data, news: _News, customers: int, seed: int) -> None:
        self.done: list[Purchase] = []
        self.statuses: Counter[str] = Counter()
        self.over = False
        self.under_way = asyncio.Event()
        """Set when each customer has bought once."""
        self._newcomers = customers
        self._data, self._news, self._chance = data, news, random.Random(seed)

    async def buy(self, shop: _Connection) -> None:
        """Buy once. An unexpected answer ends the purchase and is counted."""
        token = self._chance.choice(self._data.tokens)
        began = time.perf_counter()
        order = _ORDER % tuple(self._chance.sample(self._data.products, 2))
        status, body = await shop.post("/orders", token, order)
        placed = time.perf_counter()
        self.statuses[f"order {status}"] += 1
        if status != 201:
            return
        order_id = _read_id(body).id
        with self._news.of(order_id) as awaited:
            status, body = await shop.post("/payments", token, _PAYMENT % order_id)
            answered = time.perf_counter()
            self.statuses[f"payment {status}"] += 1
            if status != 201:
                return
            async with asyncio.timeout(_PATIENCE):
                paid, mailed = await asyncio.gather(awaited.paid, awaited.mailed)
        self.done.append(
            Purchase(began=began, placed=placed, answered=answered, paid=paid, mailed=mailed)
        )

    async def again_and_again(self, shop: _Connection) -> None:
        await self.buy(shop)
        self._newcomers -= 1
        if not self._newcomers:
            self.under_way.set()
        while not self.over:
            await self.buy(shop)


def times(purchases: Sequence[Purchase], moment: str) -> Times:
    """Return the time from each purchase's start to its `moment`."""
    found = sorted(1000 * (getattr(each, moment) - each.began) for each in purchases) or [0.0]
    return Times(*(round(found[int(share * (len(found) - 1))], 1) for share in (0.5, 0.99)))


async def shop_for(
    url: str, rabbitmq_url: str, data: Data, customers: int, seconds: float, seed: int
) -> Bought:
    where = urlsplit(url)
    news = _News()
    shopping = Shopping(data, news, customers, seed)
    rabbitmq = await aiormq.connect(rabbitmq_url)
    try:
        await news.listen(await rabbitmq.channel(publisher_confirms=False))
        shops = [
            _Connection(*await asyncio.open_connection(where.hostname, where.port))
            for _ in range(customers)
        ]
        async with asyncio.TaskGroup() as group:
            for shop in shops:
                group.create_task(shopping.again_and_again(shop))
            await shopping.under_way.wait()
            _say(BEGIN)
            began = time.perf_counter()
            await asyncio.sleep(seconds)
            _say(END)
            ended = time.perf_counter()
            shopping.over = True
    finally:
        await rabbitmq.close()
    measured = [each for each in shopping.done if began <= each.mailed <= ended]
    return Bought(
        purchases=len(measured),
        seconds=ended - began,
        placed=times(measured, "placed"),
        answered=times(measured, "answered"),
        paid=times(measured, "paid"),
        mailed=times(measured, "mailed"),
        total=len(shopping.done),
        statuses=shopping.statuses,
    )


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    url, rabbitmq_url, file, customers, seconds, seed = sys.argv[1:]
    data = msgspec.json.decode(Path(file).read_bytes(), type=Data)
    bought = uvloop.run(
        shop_for(url, rabbitmq_url, data, int(customers), float(seconds), int(seed))
    )
    _say(msgspec.json.encode(bought).decode())


if __name__ == "__main__":
    main()
