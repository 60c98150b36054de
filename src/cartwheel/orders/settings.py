"""What orders reads from the environment."""

from typing import Annotated

from msgspec import Meta

from cartwheel.kernel import ServiceSettings
from cartwheel.kernel.settings import OnOrOff
from cartwheel.orders.domain.acting import TIME_TO_ACT
from cartwheel.orders.domain.fulfilment import RETURN_WINDOW
from cartwheel.orders.domain.order import CASH_DEADLINE, PAYMENT_DEADLINE, Limits

_USUAL = Limits()


class Settings(ServiceSettings, frozen=True, kw_only=True):
    """An order waits `payment_deadline_seconds` for its payment, and `cash_deadline_days` for cash.

    A customer has at least `action_deadline_seconds` to approve the first payment that needs it.

    Its pieces can be returned within `return_window_days` of their delivery.

    With `placed_mail`, each order that is placed calls for a mail to its customer.

    `max_open_orders`, `max_pieces_per_line` and `max_pieces_per_order` are `domain.Limits`.
    """

    payment_deadline_seconds: Annotated[int, Meta(ge=1)] = int(PAYMENT_DEADLINE.total_seconds())
    action_deadline_seconds: Annotated[int, Meta(ge=1, le=86_400)] = int(
        TIME_TO_ACT.total_seconds()
    )
    cash_deadline_days: Annotated[int, Meta(ge=1, le=3_650)] = CASH_DEADLINE.days
    max_open_orders: Annotated[int, Meta(ge=0, le=1_000_000)] = _USUAL.open_orders
    max_pieces_per_line: Annotated[int, Meta(ge=1, le=1_000_000)] = _USUAL.pieces_per_line
    max_pieces_per_order: Annotated[int, Meta(ge=1, le=1_000_000)] = _USUAL.pieces_per_order
    return_window_days: Annotated[int, Meta(ge=1, le=3_650)] = RETURN_WINDOW.days
    placed_mail: OnOrOff = "off"

    @property
    def limits(self) -> Limits:
        return Limits(
            open_orders=self.max_open_orders,
            pieces_per_line=self.max_pieces_per_line,
            pieces_per_order=self.max_pieces_per_order,
        )
