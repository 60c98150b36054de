"""What the payment simulator reads from the environment."""

from typing import Annotated

import msgspec

from cartwheel.kernel.settings import HttpUrl, LogLevel
from cartwheel.simulator.origins import NOBODY, Origins

PublishableKey = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^pk_[A-Za-z0-9_]{1,100}\Z",
        description="pk_ and up to 100 letters, digits and _",
    ),
]


AuthorizationSeconds = Annotated[int, msgspec.Meta(ge=1, le=2_592_000)]
AUTHORIZED_FOR = 7 * 86_400
"""Seconds until an authorization lapses, as at Stripe:
https://docs.stripe.com/payments/place-a-hold-on-a-payment-method"""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """`simulator_shop_origins` are those of the shop's pages.

    Only they may show the card field, and only to them are customers sent back.
    `simulator_public_url` is where browsers reach it, if that is not where the services do.
    """

    simulator_ledger: str
    simulator_api_key: str
    simulator_publishable_key: PublishableKey
    simulator_webhook_secret: str
    simulator_webhook_url: HttpUrl | None = None
    simulator_authorization_seconds: AuthorizationSeconds = AUTHORIZED_FOR
    simulator_shop_origins: Origins = NOBODY
    simulator_public_url: HttpUrl | None = None
    simulator_port: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 8900
    host: str = "127.0.0.1"
    log_level: LogLevel = "INFO"
