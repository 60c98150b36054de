"""What payment providers tell us. Anybody can send here, so only a valid signature is believed.

A capture that this gateway has just answered needs no more than that. All else goes to payments,
which asks the provider before it changes anything. The answer is 2xx when that is stored.

A webhook that comes again, under the same event id or another, tells nothing new: what it is about
(the payment, the refund, the dispute) has the verdict by then. So event ids are not stored.
"""

from typing import Any

from litestar import Request, Router, post
from litestar.di import NamedDependency
from litestar.params import SkipValidation

from cartwheel.contracts.identity import Actor
from cartwheel.contracts.payments import (
    PaymentNotFound,
    ReportAuthorization,
    ReportDispute,
    ReportRefund,
    ReportVerdict,
)
from cartwheel.gateway.bodies import UNREADABLE, refusal_of
from cartwheel.gateway.bus import Bus
from cartwheel.gateway.captures import Captures
from cartwheel.gateway.described import described
from cartwheel.gateway.identity import PUBLIC
from cartwheel.gateway.rate_limits import UNLIMITED
from cartwheel.kernel import log, utc_now
from cartwheel.kernel.errors import Unauthenticated
from cartwheel.providers.simulator import webhook as simulator

ACTOR = Actor.service("gateway")
WebhookSecret = NamedDependency[SkipValidation[str]]


@post(
    "/simulator",
    status_code=204,
    opt={
        **PUBLIC,
        UNLIMITED: True,
        **described(
            asks=(ReportVerdict, ReportAuthorization, ReportRefund, ReportDispute),
            refuses=(Unauthenticated, simulator.BadSignature),
            takes=(PaymentNotFound,),
            body=simulator.EXAMPLE,
            body_type=simulator.SHAPE,
            returns="The report is taken.",
            signature="Simulator-Signature",
        ),
    },
)
async def simulator_reported(
    request: Request[Any, Any, Any], bus: Bus, webhook_secret: WebhookSecret
) -> None:
    """Take a webhook of the payment simulator.

    It must be signed. It may be repeated, late or out of order. It tells how a payment ended, that
    it is authorized, that a refund failed, or that a dispute was opened or closed. Any other
    changes nothing, and neither does one about a payment that does not exist.
    """
    body = await request.body()
    try:
        report = simulator.read(
            body, request.headers, secret=webhook_secret, actor=ACTOR, now=utc_now()
        )
    except UNREADABLE as error:
        raise refusal_of(error, simulator.SHAPE) from None
    captures: Captures = request.app.state.captures
    if report is None or (isinstance(report, ReportVerdict) and await captures.repeats(report)):
        return
    try:
        await bus.request(report)
    except PaymentNotFound:
        # Another shop's, or a test's of the provider: it would only be sent again.
        log.warning("a webhook is about an unknown payment", payment_id=report.payment_id)


router = Router("/webhooks", route_handlers=[simulator_reported], tags=["webhooks"])
