"""What products reads from the environment."""

from typing import Annotated

from msgspec import Meta

from cartwheel.kernel import ServiceSettings


class Settings(ServiceSettings, frozen=True, kw_only=True):
    """`hold_check_after_seconds` is how old a hold is when orders is asked whether it is wanted."""

    hold_check_after_seconds: Annotated[int, Meta(ge=1)] = 600
