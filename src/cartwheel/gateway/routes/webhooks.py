"""What payment providers tell us. Anybody can send here, so only a valid signature is believed.

A capture that this gateway has just answered needs no more than that. Of all else payments compares
what is told with the payment, and asks the provider where the two differ.
"""

from typing import Annotated, Any

import msgspec
from litestar import Request, Router, post
from litestar.di import NamedDependency
from litestar.params import SkipValidation

from cartwheel.contracts.money import Money
from cartwheel.contracts.payments import Failure, Method, ReportVerdict, read_card
from cartwheel.gateway.bodies import decode
from cartwheel.gateway.bus import Bus
from cartwheel.gateway.captures import Captures
from cartwheel.gateway.identity import PUBLIC
from cartwheel.gateway.simulator import verify_signature
from cartwheel.kernel import utc_now
from cartwheel.kernel.errors import Unauthenticated

WebhookSecret = NamedDependency[SkipValidation[str]]

_SUCCEEDED = "payment_intent.succeeded"
_FAILED = "payment_intent.payment_failed"
_CANCELED = "payment_intent.canceled"

_Id = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]


class _Webhook(msgspec.Struct, frozen=True):
    type: str


class _Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """How a payment ended, as the simulator tells it; other fields are of no interest here."""

    type: str
    payment_id: _Id
    payment_intent: _Id | None = None
    amount: object = None
    currency: object = None
    failure: Failure | None = None
    card: object = None

    def money(self) -> Money | None:
        """Return the amount; None, which no payment matches, if it is missing or not valid."""
        try:
            return msgspec.convert({"amount": self.amount, "currency": self.currency}, Money)
        except msgspec.ValidationError:
            return None


_webhooks = msgspec.json.Decoder(_Webhook)
_verdicts = msgspec.json.Decoder(_Verdict)


@post("/simulator", status_code=204, opt=PUBLIC)
async def simulator_reported(
    request: Request[Any, Any, Any], bus: Bus, webhook_secret: WebhookSecret
) -> None:
    """Take a signed webhook of the payment simulator. It may be repeated, late or out of order.

    One that does not tell how a payment ended is taken, and changes nothing.
    """
    body = await request.body()
    signature = request.headers.get("simulator-signature")
    if signature is None:
        raise Unauthenticated("A webhook needs its Simulator-Signature.")
    verify_signature(webhook_secret, signature, body, now=utc_now())
    if decode(body, _webhooks).type not in (_SUCCEEDED, _FAILED, _CANCELED):
        return
    told = decode(body, _verdicts)
    report = ReportVerdict(
        provider="simulator",
        payment_id=told.payment_id,
        captured=told.type == _SUCCEEDED,
        failure=told.failure if told.type == _FAILED else None,
        reference=told.payment_intent,
        method=Method.CARD,
        amount=told.money(),
        card=read_card(told.card),
    )
    captures: Captures = request.app.state.captures
    if not await captures.repeats(report):
        await bus.request(report)


router = Router("/webhooks", route_handlers=[simulator_reported], tags=["webhooks"])
