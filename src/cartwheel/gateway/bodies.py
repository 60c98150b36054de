"""Request bodies: JSON, bounded, decoded straight into the handler's type, and strictly.

A handler says `data: JSONBody[PlaceOrder]`; by the time it runs, the body has been read (at most
MAX_BODY bytes), decoded and validated. Litestar alone would take "2" for a quantity.
"""

import re
from collections.abc import Sequence
from functools import cache
from typing import Any, TypeVar

import msgspec
from litestar import Request
from msgspec import inspect

from cartwheel.gateway.problems import BodyTooLarge, MalformedJson, UnsupportedMediaType, plain
from cartwheel.kernel.errors import FieldError, Invalid, Refusal

Kind = TypeVar("Kind")

MAX_BODY = 256 * 1024

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding others' bytes may raise."""

EXPLAIN = "explain_invalid"
"""A route's option: a function that gets a body which is not valid, and may raise what is told in
place of `Invalid`."""

_PATH = re.compile(r" - at (?:`key` in )?`\$\.?([^`]*)`$")
_STEP = re.compile(r"\w+|[^\w.\[\]]+")
_INDEX = re.compile(r"[0-9]{1,6}")
_MISSING = re.compile(r"Object missing required field `(.+)`")
_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}


class JsonRequest(Request[Any, Any, Any]):
    """Litestar's request, whose body is what `data` is annotated with."""

    async def body(self) -> bytes:
        """Return the whole body.

        Raises:
            BodyTooLarge: as soon as it is known.
            MalformedJson: it did not arrive whole.
        """
        if isinstance(self._body, bytes):
            return self._body
        length = _header(self.scope, b"content-length")
        if length.isdigit() and int(length) > MAX_BODY:
            raise _too_large()
        chunks: list[bytes] = []
        size = 0
        while True:
            event = await self.receive()
            if event["type"] == "http.disconnect":
                # Nobody is left to read the answer.
                raise MalformedJson("The client went away.")
            chunk: bytes = event.get("body", b"")
            size += len(chunk)
            if size > MAX_BODY:
                raise _too_large()
            chunks.append(chunk)
            if not event.get("more_body"):
                break
        self._body = b"".join(chunks)
        return self._body

    async def json(self) -> Any:
        """Return the body as the type of the handler's `data`.

        Raises:
            Invalid: it is JSON, but not of that shape; names the field, or tells what the route's
                EXPLAIN has to say.
            UnsupportedMediaType: it does not say that it is JSON.
            MalformedJson: it is no JSON.
        """
        kind = _header(self.scope, b"content-type").partition(b";")[0]
        if kind.strip().lower() != b"application/json":
            raise UnsupportedMediaType("Send application/json.")
        body = await self.body()
        try:
            return decode(body, self._decoder())
        except Invalid:
            if explain := self.route_handler.opt.get(EXPLAIN):
                explain(body)
            raise

    def _decoder(self) -> msgspec.json.Decoder[Any]:
        handler = self.route_handler
        decoder = _decoders.get(handler)
        if decoder is None:
            field = handler.parsed_data_field
            decoder = msgspec.json.Decoder(field.annotation if field else Any)
            _decoders[handler] = decoder
        return decoder


def decode(body: bytes, decoder: msgspec.json.Decoder[Kind]) -> Kind:
    """Return what anybody sent, as the decoder's type.

    Raises:
        Invalid: it is JSON, but not of that shape; names the field.
        MalformedJson: it is no JSON, or nested too deeply to be read.
    """
    try:
        return decoder.decode(body)
    except UNREADABLE as error:
        raise refusal_of(error, decoder.type) from None


def refusal_of(error: Exception, kind: Any) -> Refusal:
    """Return the refusal of a body that should be a `kind`, and whose decoding raised `error`."""
    if isinstance(error, msgspec.ValidationError):
        return Invalid("The body is not valid.", errors=[_fault(str(error), kind)])
    # msgspec's text tells the position only; Python's would quote the body.
    return MalformedJson("The body is not well-formed JSON in UTF-8.")


def _fault(message: str, kind: Any) -> FieldError:
    """Return a msgspec message about a body of type `kind` as a field and a sentence about it.

    "Expected `int`, got `str` - at `$.items[0].quantity`" is `items[0].quantity` and
    "Expected int, got str". Unknown fields are not named: the name is the client's own text.
    """
    found = _PATH.search(message)
    path = found[1] if found else ""
    text = message[: found.start()] if found else message
    kinds = _kinds_at(_described(kind), path)
    if not kinds:  # What looks like a path is the end of an unknown field's name.
        path = ""
    if missing := _MISSING.fullmatch(text):
        return FieldError(f"{path}.{missing[1]}" if path else missing[1], "is required")
    if text.startswith("Object contains unknown field"):
        objects = [each for each in kinds if isinstance(each, inspect.StructType)]
        known = ", ".join(field.encode_name for each in objects for field in each.fields)
        hint = f"; known are {known}" if len(objects) == 1 else ""
        return FieldError(path, f"has an unknown field{hint}")
    return FieldError(path, plain(text))


_described = cache(inspect.type_info)


def _kinds_at(kind: inspect.Type, path: str) -> list[inspect.Type]:
    """Return what may be at `path` in `kind`; nothing if `kind` has no such path."""
    kinds = [*_alternatives(kind)]
    for step in _STEP.findall(path):
        inner = [found for outer in kinds for found in _inside(outer, step)]
        kinds = [each for found in inner for each in _alternatives(found)]
    return kinds


def _alternatives(kind: inspect.Type) -> Sequence[inspect.Type]:
    return kind.types if isinstance(kind, inspect.UnionType) else [kind]


def _inside(kind: inspect.Type, step: str) -> list[inspect.Type]:
    if isinstance(kind, inspect.StructType):
        fields = {field.encode_name: field.type for field in kind.fields}
        if kind.tag_field:
            fields[kind.tag_field] = inspect.StrType()
        return [fields[step]] if step in fields else []
    if isinstance(kind, inspect.ListType) and _INDEX.fullmatch(step):
        return [kind.item_type]
    return []


def _header(scope: Any, name: bytes) -> bytes:
    """Return a header's value, empty if it is not there; Litestar would parse all of them."""
    return next((value for key, value in scope["headers"] if key == name), b"")


def _too_large() -> BodyTooLarge:
    return BodyTooLarge(f"The body is longer than {MAX_BODY} bytes.")
