"""Counts the steps that processes take for a piece of work, with proxies between them.

Unlike times, counts are exact: a busy machine does not add a command. Counting on the wire works
for every client library, and the processes do not notice it.
"""

from collections import Counter, deque
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any

import bson
import httptools
import msgspec

from cartwheel.kernel._amqp.frames import Properties
from cartwheel.kernel._bus import wire

from .proxy import Listener, Watch

MONGODB, TRANSACTIONS, PUBLISHES, DELIVERIES, ACKS, HTTP = (
    "MongoDB commands",
    "transactions",
    "AMQP publishes",
    "AMQP deliveries",
    "AMQP acks",
    "HTTP exchanges",
)
"""What is counted."""

Counts = Mapping[str, Mapping[str, int]]
"""Numbers by step and by process: `counts["insert"]["orders"]`."""

_OP_MSG = 2013
_METHOD_FRAME, _HEADER_FRAME, _BASIC = 1, 2, 60
_PUBLISH, _DELIVER = 40, 60
_SETTLES = {80: "ack", 120: "nack", 90: "reject"}
_PINGS = frozenset({wire.PING, wire.PONG_TYPE})
_ANSWER = "an answer"
_CONNECTION = frozenset({"hello", "ismaster", "ping", "endSessions"})
"""Commands with which a driver maintains its connections."""
_LEARNS_RATE = "GET /v2/email/account"
"""Every ten minutes, notifications asks how fast it may send."""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A step. `what` distinguishes it from others with its name, to help find a surplus one."""

    process: str
    name: str
    kinds: tuple[str, ...]
    what: str = ""


class Steps:
    """The steps that the processes take.

    Periodic steps are left out: jobs, sweeps, leases, heartbeats, pings, monitoring.
    """

    def __init__(self) -> None:
        self._seen: list[Step] = []
        self._last_at = monotonic()

    def forget(self) -> None:
        self._seen.clear()

    @property
    def quiet_for(self) -> float:
        """Seconds since the last step."""
        return monotonic() - self._last_at

    def taken_by(self, process: str) -> int:
        return sum(step.process == process for step in self._seen)

    def counts(self) -> Counts:
        counts: dict[str, Counter[str]] = {}
        for step in self._seen:
            counts.setdefault(step.name, Counter())[step.process] += 1
        return counts

    def totals(self) -> Mapping[str, int]:
        """Return the counts by kind."""
        return Counter(kind for step in self._seen for kind in step.kinds)

    def published(self) -> list[tuple[str, str]]:
        """Return sender and type of each request and event, in the order in which they came."""
        return [
            (step.process, step.what)
            for step in self._seen
            if step.kinds == (PUBLISHES,) and step.what != _ANSWER
        ]

    def exchanged(self) -> list[tuple[str, str]]:
        """Return sender, method and path of each HTTP exchange, sorted."""
        return sorted((step.process, step.name) for step in self._seen if step.kinds == (HTTP,))

    def one_by_one(self) -> str:
        """Return a line for each step, in the order in which they were taken."""
        return "\n".join(f"{step.process:14}{step.name:18} {step.what}" for step in self._seen)

    def of_mongodb(self, process: str) -> Watch:
        """Count the commands that `process` sends."""

        def read(message: bytes) -> None:
            if (command := _command(message)) is None or _by_the_clock(command):
                return
            name = next(iter(command))
            ends_one = name in ("commitTransaction", "abortTransaction")
            kinds = (MONGODB, TRANSACTIONS) if ends_one else (MONGODB,)
            wanted = " ".join(command.get("filter", ()))
            what = "" if ends_one else f"{command[name]} {wanted}"
            self._note(Step(process=process, name=name, kinds=kinds, what=what))

        return lambda: (_pieces(_mongodb_size, read), _nobody)

    def of_rabbitmq(self, process: str) -> Watch:
        """Count the messages that `process` publishes, acknowledges and receives."""

        def note(name: str, kind: str, what: str = "") -> None:
            self._note(Step(process=process, name=name, kinds=(kind,), what=what))

        def watch() -> tuple[Listener, Listener]:
            messages = _Messages(note)
            return _pieces(_amqp_size, messages.there), _pieces(_amqp_size, messages.back)

        return watch

    def of_http(self, process: str) -> Watch:
        """Count the requests of `process` that were answered."""

        def note(name: str) -> None:
            if name != _LEARNS_RATE:
                self._note(Step(process=process, name=name, kinds=(HTTP,)))

        def watch() -> tuple[Listener, Listener]:
            exchanges = _Exchanges(note)
            return exchanges.there, exchanges.back

        return watch

    def _note(self, step: Step) -> None:
        self._seen.append(step)
        self._last_at = monotonic()


def _nobody(_: bytes) -> None:
    """Ignore the data."""


def _pieces(size: Callable[[bytearray], int | None], read: Callable[[bytes], None]) -> Listener:
    """Return a listener that reassembles messages and passes them to `read`.

    `size` returns a message's length from its beginning, or None if too little has arrived.
    """
    buffer = bytearray()

    def listen(data: bytes) -> None:
        buffer.extend(data)
        while (length := size(buffer)) is not None and len(buffer) >= length:
            message = bytes(buffer[:length])
            del buffer[:length]
            read(message)

    return listen


def _mongodb_size(buffer: bytearray) -> int | None:
    return int.from_bytes(buffer[:4], "little") if len(buffer) >= 4 else None


def _command(message: bytes) -> dict[str, Any] | None:
    """Return the command in an OP_MSG without its document sequences; None for other messages,
    which only set up connections.

    Source: https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/
    """
    if int.from_bytes(message[12:16], "little") != _OP_MSG:
        return None
    begin = 21  # the header, the flags, and the kind of the first section
    end = begin + int.from_bytes(message[begin : begin + 4], "little")
    return bson.decode(message[begin:end])  # pyright: ignore[reportUnknownMemberType] because of one of its overloads


def _by_the_clock(command: dict[str, Any]) -> bool:
    name = next(iter(command))
    wanted = command.get("filter", {})
    return (
        name in _CONNECTION
        or command[name] in ("leases", "dead_letters")  # the latter: a job
        or "due_at" in wanted  # a job
        or "outbox.id" in wanted  # the relay's sweep
    )


def _amqp_size(buffer: bytearray) -> int | None:
    """Return a frame's size: type, channel, size, payload, end. The first eight bytes are no frame.

    Source: https://www.rabbitmq.com/resources/specs/amqp0-9-1.pdf, 2.3.5
    """
    if buffer.startswith(b"AMQP"):
        return 8
    return 8 + int.from_bytes(buffer[3:7], "big") if len(buffer) >= 7 else None


def _basic_method(frame: bytes) -> int | None:
    """Return the number of a method of class `basic`; None for anything else."""
    if frame[0] != _METHOD_FRAME or int.from_bytes(frame[7:9], "big") != _BASIC:
        return None
    return int.from_bytes(frame[9:11], "big")


def _routing_key(publish: bytes) -> str:
    """Return the routing key, without RabbitMQ's suffix in the key of an answer."""
    exchange = 13
    key = exchange + 1 + publish[exchange]
    name = publish[key + 1 : key + 1 + publish[key]].decode()
    return _ANSWER if name.startswith("amq.rabbitmq.reply-to") else name


class _Messages:
    """Reports the messages of one connection to `note`, except pings and their answers."""

    def __init__(self, note: Callable[..., None]) -> None:
        self._note = note
        self._published: dict[int, str] = {}
        """The routing key of what each channel is publishing."""
        self._delivered: dict[int, int] = {}
        """The delivery tag of what each channel is receiving."""
        self._pings: set[tuple[int, int]] = set()

    def there(self, frame: bytes) -> None:
        channel, method = int.from_bytes(frame[1:3], "big"), _basic_method(frame)
        if method == _PUBLISH:
            self._published[channel] = _routing_key(frame)
        elif method in _SETTLES:
            delivery = channel, int.from_bytes(frame[11:19], "big")
            if delivery in self._pings:
                self._pings.discard(delivery)
            else:
                self._note(_SETTLES[method], ACKS)
        elif _is_header(frame):
            key = self._published.pop(channel)
            if not _is_ping(frame):
                self._note("publish", PUBLISHES, Properties(frame[7:-1]).type or key)

    def back(self, frame: bytes) -> None:
        channel = int.from_bytes(frame[1:3], "big")
        if _basic_method(frame) == _DELIVER:
            tag = 12 + frame[11]
            self._delivered[channel] = int.from_bytes(frame[tag : tag + 8], "big")
        elif _is_header(frame) and (tag := self._delivered.pop(channel, None)) is not None:
            if _is_ping(frame):
                self._pings.add((channel, tag))
            else:
                self._note("deliver", DELIVERIES)


def _is_header(frame: bytes) -> bool:
    return frame[0] == _HEADER_FRAME


def _is_ping(header: bytes) -> bool:
    return Properties(header[7:-1]).type in _PINGS


class _Exchanges:
    """Reports each answered HTTP request to `note`, by method and path."""

    def __init__(self, note: Callable[[str], None]) -> None:
        self._note = note
        self._asked: deque[str] = deque()
        self._path = b""
        self._requests = httptools.HttpRequestParser(self)
        self._answers = httptools.HttpResponseParser(_Answers(self._answered))

    def there(self, data: bytes) -> None:
        self._requests.feed_data(data)

    def back(self, data: bytes) -> None:
        self._answers.feed_data(data)

    def on_message_begin(self) -> None:
        self._path = b""

    def on_url(self, url: bytes) -> None:
        self._path += url

    def on_message_complete(self) -> None:
        self._asked.append(f"{self._requests.get_method().decode()} {self._path.decode()}")

    def _answered(self) -> None:
        self._note(self._asked.popleft())


class _Answers:
    def __init__(self, on_message_complete: Callable[[], None]) -> None:
        self.on_message_complete = on_message_complete
