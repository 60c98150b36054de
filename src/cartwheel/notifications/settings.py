"""What notifications reads from the environment."""

from typing import Annotated

import msgspec
from msgspec import Meta

from cartwheel.contracts import text
from cartwheel.kernel import ServiceSettings
from cartwheel.notifications.domain import Shop

_USUAL = Shop()
_LONGEST_NAME, _LONGEST_ADDRESS, _LONGEST_URL = 100, 300, 500
_IN_A_URL = r"[^\s\x22<>\\^`{|}]"

ShopName = Annotated[
    str,
    Meta(
        pattern=text.LINE,
        max_length=_LONGEST_NAME,
        description=f"one line of text of at most {_LONGEST_NAME} characters",
    ),
]
ShopAddress = Annotated[
    str,
    Meta(
        pattern=text.LINE,
        max_length=_LONGEST_ADDRESS,
        description=f"one line of text of at most {_LONGEST_ADDRESS} characters",
    ),
]
OrderUrl = Annotated[
    str,
    Meta(
        pattern=rf"^https?://[^\s\x22<>\\^`{{|}}/?#@]+[/?#]{_IN_A_URL}*"
        rf"\{{(number|id)\}}{_IN_A_URL}*\Z",
        max_length=_LONGEST_URL,
        description="a URL with {number} or {id} in it, "
        "such as https://shop.example.com/orders/{number}",
    ),
]


class ShopSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What mail says of the shop, for whoever shows mail and sends none."""

    shop_name: ShopName = _USUAL.name
    shop_address: ShopAddress | None = None
    order_url: OrderUrl | None = None


class Settings(ServiceSettings, frozen=True, kw_only=True):
    """`operations_mail` is where mail about low stock and dead letters goes. Without it, there is
    none. `ses_max_send_rate` is as `Ses` says."""

    ses_sender: str
    ses_max_send_rate: (
        Annotated[
            float,
            Meta(
                ge=0, le=100_000, description="mails per second, such as 14 or 0.5; 0 for no limit"
            ),
        ]
        | None
    ) = None
    operations_mail: (
        Annotated[
            str,
            Meta(
                pattern=text.MAIL_ADDRESS,
                max_length=254,
                description="a mail address, such as operations@example.com",
            ),
        ]
        | None
    ) = None
    shop_name: ShopName = _USUAL.name
    shop_address: ShopAddress | None = None
    order_url: OrderUrl | None = None


def shop_of(settings: Settings | ShopSettings) -> Shop:
    return Shop(
        name=settings.shop_name, address=settings.shop_address, order_url=settings.order_url
    )
