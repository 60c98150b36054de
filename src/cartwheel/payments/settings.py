"""What payments reads from the environment."""

from typing import Annotated, Literal

from msgspec import Meta

from cartwheel.kernel import ServiceSettings
from cartwheel.kernel.settings import HttpUrl, OnOrOff
from cartwheel.payments.domain.return_urls import LOCAL, ReturnUrls

CardCapture = Annotated[Literal["now", "shipment"], Meta(description="now or shipment")]
"""Whether a card is charged when the order is paid, or only authorized until it is shipped."""

AuthorizationExpiring = Annotated[Literal["capture", "void"], Meta(description="capture or void")]
"""What becomes of an authorization that is about to lapse: the order is charged, or canceled."""


class Settings(ServiceSettings, frozen=True, kw_only=True):
    """Browsers return only to `return_urls` after a customer has approved a payment."""

    simulator_url: HttpUrl
    simulator_api_key: str
    cash_on_delivery: OnOrOff = "on"
    card_capture: CardCapture = "now"
    authorization_expiring: AuthorizationExpiring = "void"
    return_urls: ReturnUrls = LOCAL
