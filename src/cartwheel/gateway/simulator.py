"""The payment simulator as the gateway knows it: cards become tokens, webhooks are genuine."""

import contextlib
import hashlib
import hmac
from collections.abc import AsyncGenerator
from datetime import datetime

import aiohttp
import msgspec

from cartwheel.gateway.card import Card
from cartwheel.kernel import http_client
from cartwheel.kernel.errors import FieldError, Invalid, Unauthenticated
from cartwheel.kernel.http_client import UnexpectedAnswer

ANSWER_WITHIN = 5.0
TOLERANCE = 300.0


class InvalidCard(Invalid):
    """The card's data cannot be right; the field at fault is named, its content is not."""

    code = "invalid_card"


class BadSignature(Unauthenticated):
    """A webhook that the simulator did not send, or that is too old."""

    code = "bad_signature"


class CardToken(msgspec.Struct, frozen=True, kw_only=True):
    """Stands for a card, to be charged once; of the card itself this is all that is kept."""

    token: str
    brand: str
    last4: str


class CardTokens:
    """Exchanges cards for tokens."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        """Take a session with base URL, API key and timeout: see `open_card_tokens`."""
        self._session = session

    async def tokenize(self, card: Card) -> CardToken:
        """Return a new token for `card`. Repeating it makes another token and does no harm.

        Raises:
            InvalidCard: number, expiry or CVC cannot be right.
            Unavailable, TimedOut: the simulator does not answer.
        """
        status, body = await http_client.answered(
            self._session.post("/v1/tokens", data=_encode(card)), part="the payment simulator"
        )
        if status == 200:
            token = msgspec.json.decode(body, type=_Token)
            return CardToken(token=token.id, brand=token.brand, last4=token.last4)
        error = _read_error(body)
        if status == 402:
            field = FieldError(f"method.{error.param}", error.message)
            raise InvalidCard("The card is not valid.", errors=[field])
        raise UnexpectedAnswer(f"simulator answered {status} {error.code} to a card")


@contextlib.asynccontextmanager
async def open_card_tokens(url: str, api_key: str) -> AsyncGenerator[CardTokens]:
    """Keep connections to the simulator at `url`, for example `http://127.0.0.1:8900`."""
    connecting = http_client.connect(url, api_key=api_key, answer_within=ANSWER_WITHIN)
    async with connecting as session:
        yield CardTokens(session)


def verify_signature(
    secret: str, header: str, body: bytes, *, now: datetime, tolerance: float = TOLERANCE
) -> None:
    """Check that `body` was signed by who knows `secret`, at most `tolerance` seconds ago.

    `header` is `Simulator-Signature: t=<Unix seconds>,v1=<HMAC-SHA256 of "t.body" in hex>`, in
    Stripe's scheme; one of several `v1` is enough, so that a secret can be changed.

    Raises:
        BadSignature: it was not.
    """
    pairs = [part.strip().partition("=") for part in header.split(",")]
    timestamp = next((value for name, _, value in pairs if name == "t"), "")
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) < 16):
        raise BadSignature("the signature has no timestamp")
    signed = timestamp.encode() + b"." + body
    expected = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest().encode()
    given = [value.encode() for name, _, value in pairs if name == "v1"]
    if not any(hmac.compare_digest(expected, one) for one in given):
        raise BadSignature("the signature does not match")
    if abs(now.timestamp() - int(timestamp)) > tolerance:
        raise BadSignature("the signature is too old")


class _Token(msgspec.Struct):
    id: str
    brand: str
    last4: str


class _Error(msgspec.Struct):
    code: str = "unknown"
    message: str = ""
    param: str | None = None


class _ErrorBody(msgspec.Struct):
    error: _Error


def _encode(card: Card) -> bytes:
    return msgspec.json.encode(
        {
            "number": card.number,
            "exp_month": card.exp_month,
            "exp_year": card.exp_year,
            "cvc": card.cvc,
        }
    )


def _read_error(body: bytes) -> _Error:
    try:
        return msgspec.json.decode(body, type=_ErrorBody).error
    except msgspec.DecodeError:
        return _Error()
