"""Three RabbitMQ nodes that can be one cluster, with the management API; loopback only.

async with nodes(home) as brokers:
    await brokers.start("one")
    await brokers.start("two")          # joins those that run
    await brokers.kill("two")           # stays down until it is started again
    await brokers.forget("two")         # and has lost what it held
"""

import asyncio
import os
import secrets
import shutil
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp

from cartwheel.local import instance, ports, rabbitmq
from cartwheel.local.command import Command
from cartwheel.local.console import QUIET
from cartwheel.local.rabbitmq import Node
from cartwheel.local.supervisor import Supervisor, supervising

NAMES = ("one", "two", "three")
TOOLS = "/usr/lib/rabbitmq/bin"
"""Debian's tools on PATH are wrappers that switch to the user of the system service."""

_SETTINGS = """\
management.tcp.ip = 127.0.0.1
management.tcp.port = {http}
cluster_name = {cluster}
cluster_formation.peer_discovery_backend = classic_config
"""

_ADVANCED = "[{rabbit, [{quorum_cluster_size, 1}]}].\n"
"""A new queue gets one member, as on a single node."""

_GUEST = aiohttp.encode_basic_auth("guest", "guest")


class Nodes:
    """The nodes, made by `nodes`. Methods take the names in `NAMES`."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._home = supervisor.home
        self.token = secrets.token_hex(3)
        self._amqp = {name: ports.find_free() for name in NAMES}
        self._http = {name: ports.find_free() for name in NAMES}
        peers = "".join(
            f"cluster_formation.classic_config.nodes.{number} = {self.node(peer)}\n"
            for number, peer in enumerate(NAMES, start=1)
        )
        cookie, epmd_port = secrets.token_hex(10), ports.find_free()
        self._nodes = {
            name: Node(
                name=name,
                erlang_name=self.node(name),
                port=self._amqp[name],
                erlang_port=ports.find_free(),
                epmd_port=epmd_port,
                settings=_SETTINGS.format(http=self._http[name], cluster=f"tests-{self.token}")
                + peers,
                cookie=cookie,
                plugins=("rabbitmq_management",),
            )
            for name in NAMES
        }

    def node(self, name: str) -> str:
        """Return RabbitMQ's name of the node."""
        return f"{name}-{self.token}@localhost"

    def url(self, *names: str, vhost: str = "%2F") -> str:
        return ",".join(
            f"amqp://guest:guest@127.0.0.1:{self._amqp[name]}/{vhost}" for name in names
        )

    def management_url(self, name: str, who: str = "guest:guest") -> str:
        return f"http://{who}@127.0.0.1:{self._http[name]}"

    def tools(self, name: str) -> dict[str, str]:
        """Return the environment with which RabbitMQ's tools reach a node."""
        reached = rabbitmq.environment(self._home, self._nodes[name])
        return {**reached, "PATH": f"{TOOLS}:{os.environ['PATH']}"}

    async def start(self, *names: str) -> None:
        """Start the nodes that are down; return when they have joined the cluster."""
        await asyncio.gather(*(self._start(name) for name in names))

    async def _start(self, name: str) -> None:
        with suppress(ProcessLookupError, KeyError):
            self._supervisor.pid(name)
            return
        if name in self._supervisor.names:
            await self._supervisor.start(name)
        else:
            await self._supervisor.run(self._command(name))

    async def kill(self, name: str) -> None:
        """Kill -9 the node. It stays down until `start`."""
        await self._supervisor.kill_for_good(name)

    async def forget(self, name: str, *, by: str = "one") -> None:
        """Make the cluster forget a node that is down, and delete the node's data."""
        await self.run(by, "rabbitmqctl", "forget_cluster_node", self.node(name))
        self.wipe(name)

    def wipe(self, name: str) -> None:
        shutil.rmtree(self._home / name / "data")

    async def run(self, name: str, *command: str) -> str:
        """Run one of RabbitMQ's tools on a node; return its output."""
        process = await asyncio.create_subprocess_exec(
            *command,
            env=self.tools(name),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        assert process.returncode == 0, output.decode()
        return output.decode()

    async def http(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Send a request to the management API of the first node."""
        async with (
            aiohttp.ClientSession(headers={"Authorization": _GUEST}) as session,
            session.request(
                method, f"http://127.0.0.1:{self._http['one']}/api/{path}", json=body
            ) as response,
        ):
            text = await response.text()
            assert response.status < 300, text
            return await response.json() if text else None

    async def members(self, vhost: str) -> dict[str, list[str]]:
        """Return the members of each queue, after checking that all answer."""
        found = await self._queues(vhost)
        assert all(sorted(queue["online"]) == sorted(queue["members"]) for queue in found), found
        return {queue["name"]: sorted(self._ours(*queue["members"])) for queue in found}

    async def leaders(self, vhost: str) -> list[int]:
        """Return the number of queues of each leader, the largest first."""
        leaders = [queue["leader"] for queue in await self._queues(vhost)]
        return sorted((leaders.count(leader) for leader in {*leaders}), reverse=True)

    async def _queues(self, vhost: str) -> list[dict[str, Any]]:
        listed = await self.http("GET", f"queues/{vhost}?disable_stats=true")
        return [queue for queue in listed if queue["type"] == "quorum"]

    def _ours(self, *members: str) -> list[str]:
        known = {self.node(name): name for name in NAMES}
        return [known[member] for member in members]

    def _command(self, name: str) -> Command:
        folder = instance.make_folder(self._home / name)
        instance.write_private(folder / "advanced.config", _ADVANCED)
        return rabbitmq.command(self._home, self._nodes[name])


@asynccontextmanager
async def nodes(home: Path) -> AsyncGenerator[Nodes]:
    """Yield three nodes with their data in `home`, none of them started."""
    async with supervising(home, QUIET) as supervisor:
        brokers = Nodes(supervisor)
        try:
            yield brokers
        finally:
            for name in supervisor.names:  # their data is no longer needed
                await brokers.kill(name)
