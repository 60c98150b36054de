"""Finding a way to access a cluster: the management API, RabbitMQ's own tools, or none."""

from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager
from ipaddress import ip_address
from urllib.parse import unquote, urlsplit

import msgspec

from cartwheel.kernel.operating import topology
from cartwheel.kernel.servers import Unusable
from cartwheel.kernel.settings import AmqpUrl, ManagementUrls, each_url
from cartwheel.operations.quorum import management
from cartwheel.operations.quorum.access import Access
from cartwheel.operations.quorum.command_line import CommandLine
from cartwheel.operations.quorum.management import Management
from cartwheel.operations.quorum.tending import Tended, tend
from cartwheel.services import SERVICES


class ClusterSettings(msgspec.Struct, frozen=True, kw_only=True):
    """RabbitMQ's tools, too, read `rabbitmq_nodename`: the node that they connect to."""

    rabbitmq_url: AmqpUrl
    rabbitmq_management_url: ManagementUrls | None = None
    rabbitmq_nodename: str | None = None


class Brokers:
    """The RabbitMQ in the settings. Made by `reach`."""

    def __init__(self, settings: ClusterSettings, api: Management | None) -> None:
        self._urls = each_url(settings.rabbitmq_url)
        self._tools = settings.rabbitmq_nodename is not None or len(self._urls) > 1
        self._api = api

    @property
    def has_api(self) -> bool:
        return self._api is not None

    async def check_name(self, cluster_name: str) -> None:
        """Check that the management API belongs to the cluster at RABBITMQ_URL.

        Raises:
            Unusable: it belongs to another cluster.
        """
        if self._api is None:
            return
        managed = await self._api.cluster_name()
        if managed != cluster_name:
            raise Unusable(
                f"{management.VARIABLE} points to the cluster {managed}, but RABBITMQ_URL to "
                f"{cluster_name}"
            )

    async def bindings(self) -> set[tuple[str, str]] | None:
        """Return queue and routing key of each binding of our exchange.

        Return None without the management API: AMQP does not show bindings.
        """
        return None if self._api is None else await self._api.bindings(topology.EXCHANGE)

    async def tend(
        self, *, dry_run: bool, doing: Callable[[str], AbstractContextManager[object]]
    ) -> Tended:
        """Maintain our queues, if there is a cluster."""
        accesses = tuple(self._accesses())
        if accesses:
            return await tend(accesses, vhost(self._urls[0]), dry_run=dry_run, doing=doing)
        if _is_loopback(self._urls[0]):  # `make up`, and the like: one node
            return Tended()
        return Tended(state=f"RabbitMQ: cluster not checked ({management.VARIABLE} is not set)")

    def _accesses(self) -> Iterator[Access]:
        if self._api is not None:
            yield self._api
        # The tools come last, because they take seconds to start.
        if self._api is not None or self._tools:
            yield CommandLine(vhost(self._urls[0]), _ours())


@asynccontextmanager
async def reach(settings: ClusterSettings) -> AsyncGenerator[Brokers]:
    """Yield the RabbitMQ in the settings.

    Raises:
        Unusable: the management API in the settings cannot be used.
    """
    if settings.rabbitmq_management_url is None:
        yield Brokers(settings, None)
        return
    name = vhost(each_url(settings.rabbitmq_url)[0])
    async with management.reach(settings.rabbitmq_management_url, name, _ours()) as api:
        yield Brokers(settings, api)


def vhost(url: str) -> str:
    """Return the virtual host that an AMQP URL names."""
    return unquote(urlsplit(url).path[1:]) or "/"


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _ours() -> frozenset[str]:
    return frozenset(name for service in SERVICES for name in topology.queues(service))
