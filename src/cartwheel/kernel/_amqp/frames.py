"""Encodes and decodes the frames that every message needs: publish, deliver, ack and contents.

All other frames are pamqp's. Source: AMQP 0-9-1, https://www.rabbitmq.com/resources/specs/
amqp0-9-1.pdf, 4.2 "AMQP Wire-Level Format", and https://www.rabbitmq.com/amqp-0-9-1-errata.html
for the types of a table's values.
"""

import struct
from collections.abc import Mapping
from functools import lru_cache
from struct import Struct
from typing import Any

from pamqp import decode, encode

from cartwheel.kernel._amqp.interface import Message

METHOD, HEADER, BODY, HEARTBEAT_SECONDS = 1, 2, 3, 8
END = 0xCE
EMPTY = 8
"""Bytes of a frame without a payload: type, channel and size before it, END after it."""

HEAD = Struct(">BHI")
METHOD_IDS = Struct(">HH")
TAG = Struct(">Q")

BASIC = 60
RETURN, DELIVER, ACK, NACK = 50, 60, 80, 120
"""Methods of the class `BASIC`."""

CHANNEL_CLOSE_OK = (20, 41)

_END = bytes((END,))
_UINT = Struct(">I")
_CONTENT = Struct(">HHQH")
_TAGGED = Struct(">BHIHHQBB")
_PUBLISH = b"\x00\x3c\x00\x28\x00\x00"
_REJECT = 90

_CONTENT_TYPE, _HEADERS, _MODE, _REPLY_TO = 0x8000, 0x2000, 0x1000, 0x0200
_EXPIRATION, _MESSAGE_ID, _TYPE = 0x0100, 0x0080, 0x0020
_TEXT, _TABLE = -1, -2
_FIELDS = (
    (_CONTENT_TYPE, "content_type", _TEXT),
    (0x4000, None, _TEXT),  # content encoding
    (_HEADERS, "_table", _TABLE),
    (_MODE, None, 1),
    (0x0800, None, 1),  # priority
    (0x0400, None, _TEXT),  # correlation id
    (_REPLY_TO, "reply_to", _TEXT),
    (_EXPIRATION, None, _TEXT),
    (_MESSAGE_ID, "message_id", _TEXT),
    (0x0040, None, 8),  # time
    (_TYPE, "type", _TEXT),
)
"""What a content header may hold, in this order: its flag, its name here, and its bytes."""

_PERSISTENT = b"\x02"
_LONG_TEXT = ord("S")

heartbeat = HEAD.pack(HEARTBEAT_SECONDS, 0, 0) + _END


def publish(
    channel: int,
    message: Message,
    exchange: str,
    routing_key: str,
    *,
    mandatory: bool,
    frame_max: int,
) -> bytes:
    """Return the frames of `message`, each of at most `frame_max` bytes.

    Raises:
        ValueError: a name is longer than 255 bytes, a header is nothing AMQP knows, or all headers
            are longer than a frame.
    """
    method = b"".join(
        (_PUBLISH, _name(exchange), _name(routing_key), b"\x01" if mandatory else b"\x00")
    )
    content = _properties(message)
    most = frame_max - EMPTY
    if len(content) > most:
        raise ValueError(f"headers of {len(content)} bytes are more than a frame takes")
    body = message.body
    parts = [
        *(HEAD.pack(METHOD, channel, len(method)), method, _END),
        *(HEAD.pack(HEADER, channel, len(content)), content, _END),
    ]
    for start in range(0, len(body), most):
        part = body[start : start + most]
        parts += (HEAD.pack(BODY, channel, len(part)), part, _END)
    return b"".join(parts)


def ack(channel: int, tag: int) -> bytes:
    return _TAGGED.pack(METHOD, channel, 13, BASIC, ACK, tag, 0, END)


def reject(channel: int, tag: int, *, requeue: bool) -> bytes:
    return _TAGGED.pack(METHOD, channel, 13, BASIC, _REJECT, tag, requeue, END)


class Properties:
    """What a content header holds. What cannot be read is missing; `headers` raises then."""

    __slots__ = ("_headers", "_table", "content_type", "message_id", "reply_to", "type")

    def __init__(self, header: bytes) -> None:
        self.content_type: str | None = None
        self.reply_to: str | None = None
        self.message_id: str | None = None
        self.type: str | None = None
        self._headers: Mapping[str, Any] | None = None
        self._table: bytes | None = None
        try:
            self._read(header)
        except (IndexError, struct.error):
            self._table = header[:1]  # no table, as `headers` will say

    def _read(self, header: bytes) -> None:
        *_, flags = _CONTENT.unpack_from(header)
        at = _CONTENT.size
        for flag, name, size in _FIELDS:
            if not flags & flag:
                continue
            begin = at
            if size == _TEXT:
                begin += 1
                at = begin + header[at]
                value: Any = header[begin:at].decode(errors="replace")
            else:
                at += _UINT.unpack_from(header, at)[0] + 4 if size == _TABLE else size
                value = header[begin:at]
            if name is not None:
                setattr(self, name, value)

    @property
    def headers(self) -> Mapping[str, Any]:
        """The headers.

        Raises:
            ValueError: they are no AMQP table.
        """
        if self._headers is None:
            self._headers = {} if self._table is None else _read_table(self._table)
        return self._headers


def _short(text: str) -> bytes:
    """Return `text` with its length before it."""
    data = text.encode()
    if len(data) > 255:
        raise ValueError(f"longer than the 255 bytes that AMQP takes: {text[:40]!r}…")
    return bytes((len(data),)) + data


_name = lru_cache(maxsize=1024)(_short)
"""The same, cached, for names, which recur."""


def _properties(message: Message) -> bytes:
    flags = 0
    parts: list[bytes] = []
    if message.content_type is not None:
        flags |= _CONTENT_TYPE
        parts.append(_name(message.content_type))
    if message.headers is not None:
        flags |= _HEADERS
        parts.append(_write_table(message.headers))
    if message.persistent:
        flags |= _MODE
        parts.append(_PERSISTENT)
    if message.reply_to is not None:
        flags |= _REPLY_TO
        parts.append(_name(message.reply_to))
    if message.expiration is not None:
        flags |= _EXPIRATION
        parts.append(_short(str(message.expiration)))
    if message.message_id is not None:
        flags |= _MESSAGE_ID
        parts.append(_short(message.message_id))
    if message.type is not None:
        flags |= _TYPE
        parts.append(_name(message.type))
    return _CONTENT.pack(BASIC, 0, len(message.body), flags) + b"".join(parts)


def _write_table(headers: Mapping[str, Any]) -> bytes:
    parts: list[bytes] = []
    for name, value in headers.items():
        if type(value) is not str:
            return encode.field_table(dict(headers))
        data = value.encode()
        parts += (_name(name), b"S", _UINT.pack(len(data)), data)
    table = b"".join(parts)
    return _UINT.pack(len(table)) + table


def _read_table(table: bytes) -> Mapping[str, Any]:
    try:
        return _read_texts(table)
    except (ValueError, IndexError, struct.error):
        pass
    try:
        return decode.field_table(table)[1]
    except (ValueError, OverflowError, RecursionError) as error:
        raise ValueError(f"the headers are no AMQP table: {error}") from error


def _read_texts(table: bytes) -> Mapping[str, str]:
    """Return a table whose values are all text, as those of our events are.

    Raises:
        ValueError, IndexError, struct.error: it is another one, or none.
    """
    found: dict[str, str] = {}
    at, end = 4, len(table)
    while at < end:
        begin, at = at + 1, at + 1 + table[at]
        name = table[begin:at].decode()
        if table[at] != _LONG_TEXT:
            raise ValueError(f"{name} is no text")
        begin, at = at + 5, at + 5 + _UINT.unpack_from(table, at + 1)[0]
        found[name] = table[begin:at].decode()
    if at != end:
        raise ValueError("it ends too early")
    return found
