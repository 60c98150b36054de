"""What the payment simulator reads from the environment."""

from typing import Annotated

import msgspec

from cartwheel.kernel.settings import HttpUrl, LogLevel

PublishableKey = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^pk_[A-Za-z0-9_]{1,100}\Z",
        description="pk_ and up to 100 letters, digits and _",
    ),
]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    simulator_ledger: str
    simulator_api_key: str
    simulator_publishable_key: PublishableKey
    simulator_webhook_secret: str
    simulator_webhook_url: HttpUrl | None = None
    simulator_port: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 8900
    host: str = "127.0.0.1"
    log_level: LogLevel = "INFO"
