"""Charging cards with the payment simulator."""

import contextlib
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Annotated, ClassVar, TypeVar
from urllib.parse import quote

import aiohttp
import msgspec

from cartwheel.contracts import text
from cartwheel.contracts.ledger import LedgerEntry
from cartwheel.contracts.money import MAX_AMOUNT, Currency, Money
from cartwheel.contracts.payments import DisputeStatus, Failure, RefundStatus, read_card
from cartwheel.kernel import Page, http_client
from cartwheel.kernel.http_client import UnexpectedAnswer
from cartwheel.providers.port import (
    REFUNDED,
    ActionRequired,
    Authorized,
    Captured,
    CaptureRefused,
    Charge,
    Declined,
    DisputeOutcome,
    Outcome,
    RefundOutcome,
    TokenRefused,
    Voided,
)
from cartwheel.providers.simulator.codes import NOT_APPROVED
from cartwheel.providers.simulator.lines import Lines

Answer = TypeVar("Answer")

ANSWER_WITHIN_SECONDS = 5.0

LONGEST_CODE, LONGEST_MESSAGE = 64, 300
"""How many characters of the reason of a failed refund or capture are handed on."""


_UNKNOWN = "resource_missing"
_USED = "payment_method_unexpected_state"
_CARD_ERROR = 402


class _Refused(UnexpectedAnswer):
    """The simulator refused a request. `code` is its reason, `param` the field at fault."""

    def __init__(self, said: str, status: int, error: "_Error") -> None:
        super().__init__(said)
        self.status = status
        self.error = error
        self.code = error.code
        self.param = error.param


class SimulatorCards:
    """A `CardProvider`: methods may be repeated, and raise `Unavailable` or `TimedOut`."""

    name: ClassVar[str] = "simulator"

    def __init__(self, session: aiohttp.ClientSession) -> None:
        """Use a session with base URL, API key and timeout, as `open_simulator` makes it."""
        self._session = session

    async def charge(self, charge: Charge) -> Outcome:
        intent: dict[str, object] = {
            "payment_id": charge.payment_id,
            "amount": charge.amount.amount,
            "currency": charge.amount.currency,
            "confirm": True,
            "capture_method": "automatic" if charge.capture else "manual",
        }
        if charge.token is None:
            intent["payment_method_data"] = {"type": "wallet"}
        else:
            intent["token"] = charge.token
        if charge.return_url is not None:
            intent["return_url"] = charge.return_url
        try:
            answer = await self._ask("POST", "/v1/payment_intents", intent, charge.payment_id)
        except _Refused as refused:
            if refused.param == "token" and refused.code in (_UNKNOWN, _USED):
                raise TokenRefused(refused.code) from None
            raise
        return _outcome(answer)

    async def cancel(self, payment_id: str) -> Outcome:
        outcome = _outcome(await self._ask("POST", f"{_path(payment_id)}/cancel"))
        if isinstance(outcome.verdict, ActionRequired):
            raise UnexpectedAnswer("simulator did not cancel a payment that waits for its customer")
        return outcome

    async def capture(self, payment_id: str, amount: Money) -> Outcome:
        wanted = {"amount_to_capture": amount.amount}
        try:
            return _outcome(await self._ask("POST", f"{_path(payment_id)}/capture", wanted))
        except _Refused as refused:
            if refused.status != _CARD_ERROR:
                raise
            raise CaptureRefused(_shown(refused.code, refused.error.message)) from None

    async def look_up(self, payment_id: str) -> Outcome | None:
        try:
            intent = await self._ask("GET", _path(payment_id))
        except _Refused as refused:
            if refused.code == _UNKNOWN:
                return None
            raise
        return None if intent.status == "requires_confirmation" else _outcome(intent)

    async def refund(self, payment_id: str, refund_id: str, amount: Money) -> RefundOutcome:
        refund = {"payment_id": payment_id, "refund_id": refund_id, "amount": amount.amount}
        answer = await self._ask("POST", "/v1/refunds", refund, refund_id)
        return _refund_outcome(answer)

    async def look_up_dispute(self, dispute_id: str) -> DisputeOutcome | None:
        try:
            found = await self._ask("GET", f"/v1/disputes/{quote(dispute_id, safe='')}")
        except _Refused as refused:
            if refused.code == _UNKNOWN:
                return None
            raise
        return _dispute_outcome(found)

    async def entries_of(self, payment_id: str) -> list[LedgerEntry]:
        return (await self._lines(f"{_path(payment_id)}/ledger")).entries()

    async def ledger(
        self, *, since: datetime, until: datetime, limit: int, cursor: str | None
    ) -> Page[LedgerEntry]:
        asked = {"since": since.isoformat(), "until": until.isoformat(), "limit": str(limit)}
        if cursor is not None:
            asked["after"] = cursor
        lines = await self._lines("/v1/ledger", asked)
        return Page(
            data=lines.entries(),
            next_cursor=None if lines.next_after is None else str(lines.next_after),
        )

    async def _lines(self, path: str, asked: Mapping[str, str] | None = None) -> Lines:
        return await self._answered(self._session.get(path, params=asked), path, Lines)

    async def _ask(
        self,
        method: str,
        path: str,
        content: Mapping[str, object] | None = None,
        key: str | None = None,
    ) -> "_Intent":
        headers = {"Idempotency-Key": key} if key else None
        body = msgspec.json.encode(content) if content else None
        request = self._session.request(method, path, data=body, headers=headers)
        return await self._answered(request, path, _Intent)

    async def _answered(
        self,
        request: AbstractAsyncContextManager[aiohttp.ClientResponse],
        path: str,
        kind: type[Answer],
    ) -> Answer:
        status, answer = await http_client.answered(request, dependency="the payment simulator")
        if status != 200:
            error = _error(answer)
            said = f"simulator answered {status} {error.code} to {path}"
            raise _Refused(said, status, error)
        try:
            return msgspec.json.decode(answer, type=kind)
        except msgspec.DecodeError as error:
            raise UnexpectedAnswer(f"simulator's answer to {path}: {error}") from error


@contextlib.asynccontextmanager
async def open_simulator(url: str, api_key: str) -> AsyncGenerator[SimulatorCards]:
    """Yield a client of the simulator at `url`, for example `http://127.0.0.1:8900`."""
    connecting = http_client.connect(url, api_key=api_key, answer_within=ANSWER_WITHIN_SECONDS)
    async with connecting as session:
        yield SimulatorCards(session)


class _Failure(msgspec.Struct):
    code: str
    message: str


class _RedirectToUrl(msgspec.Struct):
    url: Annotated[str, msgspec.Meta(pattern=text.URL, max_length=2_000)]


class _NextAction(msgspec.Struct):
    redirect_to_url: _RedirectToUrl


class _Intent(msgspec.Struct):
    """An intent, a refund or a dispute."""

    status: str
    payment_id: str = ""
    reason: str = ""
    id: str | None = None
    amount: Annotated[int, msgspec.Meta(ge=1, le=MAX_AMOUNT)] | None = None
    currency: Currency | None = None
    card: object = None
    next_action: _NextAction | None = None
    failure: _Failure | None = None
    capture_before: datetime | None = None
    amount_received: Annotated[int, msgspec.Meta(ge=1, le=MAX_AMOUNT)] | None = None


class _Error(msgspec.Struct):
    code: str = "unknown"
    message: str = "The issuer refuses the capture."
    param: str | None = None


class _ErrorBody(msgspec.Struct):
    error: _Error


def _path(payment_id: str) -> str:
    return f"/v1/payments/{quote(payment_id, safe='')}"


def _outcome(intent: _Intent) -> Outcome:
    card = read_card(intent.card)
    match intent:
        case _Intent(status="succeeded", amount=int(amount), currency=str(currency)):
            taken = Money(intent.amount_received or amount, currency)
            return Outcome(Captured(taken), intent.id, card)
        case _Intent(
            status="requires_capture",
            amount=int(amount),
            currency=str(currency),
            capture_before=datetime() as before,
        ):
            return Outcome(Authorized(Money(amount, currency), before), intent.id, card)
        case _Intent(status="failed", failure=_Failure() as why):
            counts = why.code != NOT_APPROVED
            declined = Declined(code=why.code, message=why.message, counts=counts)
            return Outcome(declined, intent.id, card)
        case _Intent(status="requires_action", next_action=_NextAction(redirect_to_url=to)):
            return Outcome(ActionRequired(to.url), intent.id, card)
        case _Intent(status="canceled"):
            return Outcome(Voided(), intent.id, card)
        case _:
            raise UnexpectedAnswer(f"simulator gave no verdict but {intent.status!r}")


def _refund_outcome(refund: _Intent) -> RefundOutcome:
    match refund:
        case _Intent(status="succeeded"):
            return REFUNDED
        case _Intent(status="pending"):
            return RefundOutcome(RefundStatus.PENDING)
        case _Intent(status="failed" | "canceled" as status):
            why = refund.failure or _Failure(f"refund_{status}", "The refund was not made.")
            return RefundOutcome(
                RefundStatus(status.upper()),
                _shown(why.code, why.message),
            )
        case _:
            raise UnexpectedAnswer(f"simulator answered to a refund: {refund.status!r}")


def _shown(code: str, message: str) -> Failure:
    return Failure(
        code=text.one_line(code, longest=LONGEST_CODE),
        message=text.one_line(message, longest=LONGEST_MESSAGE),
    )


def _dispute_outcome(dispute: _Intent) -> DisputeOutcome:
    match dispute:
        case _Intent(
            status="needs_response" | "won" | "lost" as status,
            amount=int(amount),
            currency=str(currency),
        ):
            return DisputeOutcome(
                payment_id=dispute.payment_id,
                amount=Money(amount, currency),
                status=DisputeStatus(status.upper()),
                reason=dispute.reason,
            )
        case _:
            raise UnexpectedAnswer(f"simulator answered about a dispute: {dispute.status!r}")


def _error(body: bytes) -> _Error:
    try:
        return msgspec.json.decode(body, type=_ErrorBody).error
    except msgspec.DecodeError:
        return _Error()
