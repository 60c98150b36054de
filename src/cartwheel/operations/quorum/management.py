"""Access with RabbitMQ's management API (https://www.rabbitmq.com/docs/management#http-api).

All versions show the members of queues. RabbitMQ 4 can also add and remove members; 3.10 answers
405.
"""

import re
from collections.abc import AsyncGenerator, Collection
from contextlib import asynccontextmanager
from typing import TypeVar
from urllib.parse import quote

import aiohttp
import msgspec
from yarl import URL

from cartwheel.kernel.servers import CHECK_SECONDS, Unusable, shown, why
from cartwheel.operations.quorum.access import CannotDo, CannotLook
from cartwheel.operations.quorum.cluster import Cluster, Listed, quorum_queues, unlisted
from cartwheel.operations.quorum.steps import Add, Drop, Spread, Step

VARIABLE = "RABBITMQ_MANAGEMENT_URL"

STEP_SECONDS = 60.0
"""Seconds for one member. RabbitMQ's own timeout is 30."""

_MISSING = (404, 405)
"""The answers of versions without this API, and of servers where it is disabled."""

_Decoded = TypeVar("_Decoded")


class _Named(msgspec.Struct):
    name: str


class _Node(msgspec.Struct):
    name: str
    running: bool = False
    partitions: list[str] = []


class _Binding(msgspec.Struct):
    destination: str
    routing_key: str


class Management:
    """A client of the management API, made by `reach`."""

    def __init__(
        self, session: aiohttp.ClientSession, url: str, vhost: str, ours: Collection[str]
    ) -> None:
        self._session = session
        self._url = url
        self._vhost = vhost
        self._ours = ours

    async def check(self) -> None:
        """Check that the API shows the nodes.

        Raises:
            Unusable: it does not.
        """
        await self._get(list[_Node], "nodes")

    async def cluster_name(self) -> str:
        """Return the cluster's name.

        Raises:
            Unusable: the API cannot be used.
        """
        return (await self._get(_Named, "cluster-name")).name

    async def bindings(self, exchange: str) -> set[tuple[str, str]]:
        """Return queue and routing key of each binding of `exchange`, which must exist.

        Raises:
            Unusable: the API cannot be used.
        """
        path = f"exchanges/{_part(self._vhost)}/{_part(exchange)}/bindings/source"
        found = await self._get(list[_Binding], path)
        return {(each.destination, each.routing_key) for each in found}

    async def look(self) -> Cluster:
        try:
            nodes = await self._get(list[_Node], "nodes")
            queues = await self._get(
                list[Listed],
                # Statistics are up to 5 s old. They still show a killed node as running.
                f"queues/{_part(self._vhost)}?disable_stats=true",
            )
        except Unusable as error:
            raise CannotLook(str(error)) from error
        return Cluster(
            nodes={node.name: node.running for node in nodes},
            queues=quorum_queues(queues, self._ours),
            unlisted=unlisted(queues, self._ours),
            partitioned=any(node.partitions for node in nodes),
        )

    async def do(self, step: Step, *, at: str) -> None:
        match step:
            case Add(node, queues):
                for queue in queues:
                    await self._change("POST", f"{self._members(queue)}/add", node)
            case Drop(node, queues):
                for queue in queues:
                    await self._change("DELETE", f"{self._members(queue)}/delete", node)
            case Spread():
                await self._change("POST", "rebalance/queues", None)

    def _members(self, queue: str) -> str:
        return f"queues/quorum/{_part(self._vhost)}/{_part(queue)}/replicas"

    async def _change(self, method: str, path: str, node: str | None) -> None:
        try:
            async with self._session.request(
                method,
                URL(f"{self._url}/api/{path}", encoded=True),
                json={} if node is None else {"node": node},
                timeout=aiohttp.ClientTimeout(total=STEP_SECONDS),
            ) as response:
                status, body = response.status, await response.text(errors="replace")
        except (aiohttp.ClientError, TimeoutError) as error:
            raise CannotDo(why(VARIABLE, self._url, error)) from error
        if status in _MISSING:
            raise CannotDo("this RabbitMQ cannot do this with its management API")
        if status == 401:
            raise CannotDo(f"the user in {VARIABLE} is not an administrator")
        if status >= 300:
            raise CannotDo(f"RabbitMQ answers {status}: {body[:200]}")

    async def _get(self, kind: type[_Decoded], path: str) -> _Decoded:
        url = URL(f"{self._url}/api/{path}", encoded=True)
        try:
            async with self._session.get(url) as response:
                status, body = response.status, await response.read()
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise Unusable(why(VARIABLE, self._url, error)) from error
        points_to = f"{VARIABLE} points to {shown(self._url)}, which"
        if status in (401, 403):
            raise Unusable(
                f"{points_to} refuses this user or password; the user needs the tag monitoring, "
                "and the tag administrator to change queues"
            )
        if status != 200:
            raise Unusable(f"{points_to} answers {status}")
        try:
            return msgspec.json.decode(body, type=kind)
        except msgspec.DecodeError as error:
            raise Unusable(f"{points_to} is not RabbitMQ's management API") from error


@asynccontextmanager
async def reach(urls: str, vhost: str, ours: Collection[str]) -> AsyncGenerator[Management]:
    """Yield a client of the first of `urls` that can be used.

    Raises:
        Unusable: none can be used. The message is about the last one.
    """
    unusable = Unusable(f"{VARIABLE} is empty")
    for given in re.split(r",(?=https?://)", urls):
        url = URL(given)
        who = aiohttp.encode_basic_auth(url.user or "", url.password or "", encoding="utf-8")
        async with aiohttp.ClientSession(
            headers={"Authorization": who},
            timeout=aiohttp.ClientTimeout(total=3 * CHECK_SECONDS, sock_connect=CHECK_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
        ) as session:
            address = str(url.with_user(None)).rstrip("/")
            management = Management(session, address, vhost, ours)
            try:
                await management.check()
            except Unusable as error:
                unusable = error
                continue
            yield management
            return
    raise unusable


def _part(text: str) -> str:
    return quote(text, safe="")
