"""What products reads from the environment."""

from typing import Annotated

from msgspec import Meta

from cartwheel.kernel import ServiceSettings


class Settings(ServiceSettings, frozen=True, kw_only=True):
    """`hold_check_after_seconds` is the age at which orders is asked about a HELD reservation."""

    hold_check_after_seconds: Annotated[int, Meta(ge=1)] = 600
