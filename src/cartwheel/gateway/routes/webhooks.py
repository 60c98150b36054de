"""What payment providers tell us. Anybody can send here, so only a valid signature is believed."""

from typing import Any

import msgspec
from litestar import Request, Router, post
from litestar.di import NamedDependency
from litestar.params import SkipValidation

from cartwheel.contracts.payments import Failure, ReportVerdict
from cartwheel.gateway.bus import Bus
from cartwheel.gateway.identity import PUBLIC
from cartwheel.gateway.simulator import verify_signature
from cartwheel.kernel.clock import utc_now
from cartwheel.kernel.errors import Invalid, Unauthenticated

WebhookSecret = NamedDependency[SkipValidation[str]]


class _Reported(msgspec.Struct, frozen=True):
    """The simulator's webhook body; other fields are of no interest here."""

    type: str
    payment_id: str
    payment_intent: str
    failure: Failure | None = None


@post("/simulator", status_code=204, opt=PUBLIC)
async def simulator_reported(
    request: Request[Any, Any, Any], bus: Bus, webhook_secret: WebhookSecret
) -> None:
    """Take a signed webhook of the payment simulator. It may be repeated, late or out of order."""
    body = await request.body()
    signature = request.headers.get("simulator-signature")
    if signature is None:
        raise Unauthenticated("A webhook needs its Simulator-Signature.")
    verify_signature(webhook_secret, signature, body, now=utc_now())
    try:
        reported = msgspec.json.decode(body, type=_Reported)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Invalid("This is no webhook of the simulator.") from None
    await bus.request(
        ReportVerdict(
            provider="simulator",
            payment_id=reported.payment_id,
            captured=reported.type == "payment_intent.succeeded",
            failure=reported.failure,
            reference=reported.payment_intent,
        )
    )


router = Router("/webhooks", route_handlers=[simulator_reported], tags=["webhooks"])
