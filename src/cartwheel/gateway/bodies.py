"""Request bodies: JSON, limited in size, decoded strictly into the handler's type.

A handler says `data: JSONBody[PlaceOrder]`; when it runs, the body has been read (at most
MAX_BODY bytes), decoded and validated. Litestar alone would accept "2" as a quantity.
"""

from typing import Any, TypeVar

import msgspec
from litestar import Request
from litestar.utils.typing import make_non_optional_union

from cartwheel.gateway import field_errors
from cartwheel.gateway.card import CARD_FREE, refuse_card_numbers
from cartwheel.gateway.problems import BodyTooLarge, MalformedJson, UnsupportedMediaType
from cartwheel.kernel.errors import Invalid, Refusal

Kind = TypeVar("Kind")

MAX_BODY = 256 * 1024

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding untrusted bytes may raise."""

EXPLAIN = "explain_invalid"
"""A route's option: a function that gets an invalid body and may raise a better explanation than
`Invalid`."""

_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}


class JsonRequest(Request[Any, Any, Any]):
    """Litestar's request; its body is decoded as the type that `data` is annotated with."""

    async def body(self) -> bytes:
        """Return the whole body.

        Raises:
            BodyTooLarge: it exceeds MAX_BODY; raised before the rest is read.
            MalformedJson: the client disconnected before the body was complete.
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
                # Nobody will read the answer.
                raise MalformedJson("The connection ended before the body did.")
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
            Invalid: it is JSON of another shape; names the field. The route's EXPLAIN may raise
                something else.
            CardDataNotAccepted: a text that the route wants free of card numbers holds one.
            UnsupportedMediaType: its media type is not JSON.
            MalformedJson: it is not JSON.
        """
        kind = _header(self.scope, b"content-type").partition(b";")[0]
        if kind.strip().lower() != b"application/json":
            raise UnsupportedMediaType(
                "Send the body with the header `Content-Type: application/json`."
            )
        body = await self.body()
        try:
            decoded = decode(body, self._decoder())
        except Invalid:
            if explain := self.route_handler.opt.get(EXPLAIN):
                explain(body)
            raise
        if fields := self.route_handler.opt.get(CARD_FREE):
            refuse_card_numbers(decoded, fields)
        return decoded

    def _decoder(self) -> msgspec.json.Decoder[Any]:
        handler = self.route_handler
        decoder = _decoders.get(handler)
        if decoder is None:
            field = handler.parsed_data_field
            kind: Any = field.annotation if field else Any
            if field and field.is_optional:  # it may be left out, which `null` does not
                kind = make_non_optional_union(kind)
            decoder = msgspec.json.Decoder(kind)
            _decoders[handler] = decoder
        return decoder


def decode(body: bytes, decoder: msgspec.json.Decoder[Kind]) -> Kind:
    """Return untrusted bytes as the decoder's type.

    Raises:
        Invalid: it is JSON of another shape; names the field.
        MalformedJson: it is not JSON, or is nested too deeply.
    """
    try:
        return decoder.decode(body)
    except UNREADABLE as error:
        raise refusal_of(error, decoder.type) from None


def refusal_of(error: Exception, kind: Any) -> Refusal:
    """Return the refusal of a body that should be a `kind` but raised `error` when decoded."""
    if isinstance(error, msgspec.ValidationError):
        errors = [field_errors.of_body(error, kind)]
        return Invalid(field_errors.told(errors), errors=errors)
    # No details: Python's message would quote the body.
    return MalformedJson("Send the body as valid JSON in UTF-8.")


def _header(scope: Any, name: bytes) -> bytes:
    """Return a header's value, or nothing. Litestar would parse all headers."""
    return next((value for key, value in scope["headers"] if key == name), b"")


def _too_large() -> BodyTooLarge:
    return BodyTooLarge(f"The body is too large. Send at most {MAX_BODY:,} bytes.")
