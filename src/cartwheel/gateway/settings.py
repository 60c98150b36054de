"""What the gateway reads from the environment."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from cartwheel.contracts import text
from cartwheel.gateway.clients import NOBODY, Networks
from cartwheel.kernel.settings import (
    AmqpClient,
    AmqpUrl,
    DatabaseAddresses,
    DatabasePrefix,
    DrainSeconds,
    HttpUrl,
    LogLevel,
    OnOrOff,
    Port,
)

NAME = "gateway"
"""Of the process, and of its database."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """`cognito_issuer`, `cognito_jwks_url` and `emulated_cognito_key` are only for an emulator.

    The key marks verified addresses; without it, Cognito's `email_verified` decides.
    `cognito_client_secret` is for an app client that has one.

    `databases` has the gateway's own, where `rate_limits` count for all gateways.

    `trusted_proxies` are the proxies whose X-Forwarded-For is believed.

    A private `catalogue` is shown only to users who have logged in.

    With `share_port`, several gateways may listen on one port, and the operating system distributes
    the connections.
    """

    host: str = "127.0.0.1"
    port: Port = 8000
    share_port: bool = False
    drain_seconds: DrainSeconds = 0
    max_connections_per_address: Annotated[int, Meta(ge=0)] = 1024
    trusted_proxies: Networks = NOBODY
    catalogue: Annotated[Literal["public", "private"], Meta(description="public or private")] = (
        "public"
    )
    log_level: LogLevel = "INFO"
    rate_limits: OnOrOff = "on"
    databases: DatabaseAddresses
    mongodb_database_prefix: DatabasePrefix = ""
    rabbitmq_url: AmqpUrl
    amqp_client: AmqpClient = "built-in"
    simulator_webhook_secret: str
    cognito_user_pool_id: str
    cognito_client_id: str
    cognito_client_secret: (
        Annotated[
            str,
            Meta(
                pattern=r"^\S{24,64}$" + text.NOTHING_AFTER,
                description="24 to 64 characters without spaces",
            ),
        ]
        | None
    ) = None
    cognito_issuer: HttpUrl | None = None
    cognito_jwks_url: HttpUrl | None = None
    emulated_cognito_key: (
        Annotated[str, Meta(min_length=16, description="16 characters or more")] | None
    ) = None

    def __repr__(self) -> str:
        return "Settings(…)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        # msgspec would show every field, including secrets.
        return []

    @property
    def region(self) -> str:
        """The AWS region; it is the first part of every user pool's id, `us-east-1_AbCdEf`."""
        return self.cognito_user_pool_id.partition("_")[0]

    @property
    def issuer(self) -> str:
        """The required value of `iss` (AWS, "Verifying JSON web tokens")."""
        return self.cognito_issuer or (
            f"https://cognito-idp.{self.region}.amazonaws.com/{self.cognito_user_pool_id}"
        )

    @property
    def jwks_url(self) -> str:
        return self.cognito_jwks_url or f"{self.issuer}/.well-known/jwks.json"
