"""What orders reads from the environment."""

from typing import Annotated

from msgspec import Meta

from cartwheel.kernel import ServiceSettings
from cartwheel.orders.domain import PAYMENT_DEADLINE


class Settings(ServiceSettings, frozen=True, kw_only=True):
    """`payment_deadline_seconds` is how long an order waits for its payment."""

    payment_deadline_seconds: Annotated[int, Meta(ge=1)] = int(PAYMENT_DEADLINE.total_seconds())
