"""What the payment simulator reads from the environment."""

from typing import Annotated

import msgspec

from cartwheel.kernel.settings import HttpUrl, LogLevel


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    simulator_ledger: str
    simulator_api_key: str
    simulator_webhook_secret: str
    simulator_webhook_url: HttpUrl | None = None
    simulator_port: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 8900
    host: str = "127.0.0.1"
    log_level: LogLevel = "INFO"
