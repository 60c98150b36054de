"""Request bodies: JSON, bounded, decoded straight into the handler's type, and strictly.

A handler says `data: JSONBody[PlaceOrder]`; by the time it runs, the body has been read (at most
MAX_BODY bytes), decoded and validated. Litestar alone would take "2" for a quantity.
"""

import re
from typing import Any, TypeVar

import msgspec
from litestar import Request
from litestar.exceptions import HTTPException

from cartwheel.gateway.problems import MalformedJson, plain
from cartwheel.kernel.errors import FieldError, Invalid

Kind = TypeVar("Kind")

MAX_BODY = 256 * 1024

_PATH = re.compile(r" - at (?:`key` in )?`\$\.?(.*)`$")
_MISSING = re.compile(r"Object missing required field `(.+)`")
_UNKNOWN = re.compile(r"Object contains unknown field `(.+)`")
_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}


class JsonRequest(Request[Any, Any, Any]):
    """Litestar's request, whose body is what `data` is annotated with."""

    async def body(self) -> bytes:
        """Return the whole body.

        Raises:
            HTTPException: 413 as soon as it is known to be too long.
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
                raise HTTPException(status_code=400, detail="The client went away.")
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
            Invalid: it is JSON, but not of that shape; names the field.
            HTTPException: 415.
            MalformedJson: it is no JSON.
        """
        kind = _header(self.scope, b"content-type").partition(b";")[0]
        if kind.strip().lower() != b"application/json":
            raise HTTPException(status_code=415, detail="Send application/json.")
        return decode(await self.body(), self._decoder())

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
    except msgspec.ValidationError as error:
        raise Invalid("The body is not valid.", errors=[fault(str(error))]) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # msgspec's text tells the position only; Python's would quote the body.
        raise MalformedJson(detail="The body is not well-formed JSON in UTF-8.") from None


def fault(message: str) -> FieldError:
    """Return a msgspec message as a field and a sentence about it.

    "Expected `int`, got `str` - at `$.items[0].quantity`" is `items[0].quantity` and
    "Expected int, got str".
    """
    found = _PATH.search(message)
    path = found[1] if found else ""
    text = message[: found.start()] if found else message
    for pattern, sentence in ((_MISSING, "is required"), (_UNKNOWN, "is not a known field")):
        if named := pattern.fullmatch(text):
            return FieldError(f"{path}.{named[1]}" if path else named[1], sentence)
    return FieldError(path, plain(text))


def _header(scope: Any, name: bytes) -> bytes:
    """Return a header's value, empty if it is not there; Litestar would parse all of them."""
    return next((value for key, value in scope["headers"] if key == name), b"")


def _too_large() -> HTTPException:
    return HTTPException(status_code=413, detail=f"The body is longer than {MAX_BODY} bytes.")
