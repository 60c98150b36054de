"""What the simulator's routes depend on."""

from datetime import timedelta

import msgspec
from aiohttp import web

from cartwheel.simulator.faults import Faults, Late
from cartwheel.simulator.group_commit import GroupCommit
from cartwheel.simulator.ledger import WEEK
from cartwheel.simulator.origins import NOBODY, Origins
from cartwheel.simulator.outbox import NOT_AT_ALL, ONCE, Delivery
from cartwheel.simulator.webhooks import Webhooks


class Dependencies(msgspec.Struct, frozen=True, kw_only=True):
    """The dependencies of the routes. If `webhooks` is None, no webhooks are sent.

    `publishable_key` is used in the shop's public pages. It can make payment methods, by itself or
    through a hosted page, and nothing else. `shop` has the origins of those pages. `public_url` is
    where browsers reach the simulator's own pages, if not where the shop's server does.
    """

    ledger: GroupCommit
    faults: Faults
    webhooks: Webhooks | None
    api_key: str
    publishable_key: str
    shop: Origins = NOBODY
    public_url: str | None = None
    late: Late = msgspec.field(default_factory=Late)
    authorized_for: timedelta = WEEK

    @property
    def delivery(self) -> Delivery:
        """How the webhooks of refunds and disputes are sent."""
        return ONCE if self.webhooks else NOT_AT_ALL

    def pages(self, request: web.Request) -> str:
        """Return the address below which browsers find the pages."""
        return (self.public_url or str(request.url.origin())).rstrip("/")

    def wake(self) -> None:
        if self.webhooks:
            self.webhooks.wake()


DEPENDENCIES = web.AppKey("dependencies", Dependencies)
"""Read it from `request.config_dict`, which pages see, too."""
