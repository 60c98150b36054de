"""Three RabbitMQ nodes that are one cluster."""

import asyncio
import secrets
from asyncio.subprocess import PIPE
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import msgspec

from cartwheel.local import instance, rabbitmq
from cartwheel.local.cluster.network import Network
from cartwheel.local.cluster.waiting import until
from cartwheel.local.command import Command
from cartwheel.local.dependencies import side_by_side
from cartwheel.local.host import Host
from cartwheel.local.rabbitmq import Node
from cartwheel.local.supervisor import Supervisor

NAMES = ("rabbitmq.1", "rabbitmq.2", "rabbitmq.3")
USER = "cartwheel"
START_SECONDS = 180.0
"""A node that was not the last to stop waits for the others, and three nodes boot at once."""

FINDS_BACK_SECONDS = 20.0
"""A node that was cut off, or has paused, notices its end after up to 7 s, and then restarts."""

_SETTLES_SECONDS = 2.0
_ANSWER_SECONDS = 3.0

_SETTINGS = """\
default_user = {user}
default_pass = {password}

cluster_formation.peer_discovery_backend = classic_config
{nodes}
cluster_formation.discovery_retry_limit = {retries}
cluster_formation.discovery_retry_interval = 500

# In a partition, only the majority continues, so no two sides confirm messages.
cluster_partition_handling = pause_minority
# A node that has been silent for 5 s counts as lost. Until then, operations that need all nodes,
# such as declaring a queue, wait for it. The default is 60 s.
net_ticktime = 5
# Otherwise all leaders would be on the node that `cartwheel setup` connects to.
queue_leader_locator = balanced

# `cartwheel setup` uses it to maintain the queues' members. It needs no statistics, which are
# expensive.
management.tcp.ip = {address}
management.tcp.port = {management_port}
management_agent.disable_metrics_collector = true
"""

_RUNNING = """\
case {rabbit:is_booted(), erlang:function_exported(rabbit_nodes, list_running, 0)} of
    {false, _} -> 0;
    {true, true} -> length(rabbit_nodes:list_running());
    {true, false} -> length(rabbit_nodes:all_running())
end.
"""
"""RabbitMQ 3.10 has the last of these functions, 4.0 the one before."""


class Brokers(msgspec.Struct, frozen=True):
    """The nodes and the ports of their management APIs, by name, and the password of their user."""

    home: Path
    nodes: dict[str, Node]
    management_ports: dict[str, int]
    password: str

    @property
    def urls(self) -> tuple[str, ...]:
        """Each node's."""
        return tuple(
            f"amqp://{USER}:{self.password}@{node.host.address}:{node.port}/"
            for node in self.nodes.values()
        )

    @property
    def management_urls(self) -> tuple[str, ...]:
        """Each node's."""
        return tuple(
            f"http://{USER}:{self.password}@{node.host.address}:{self.management_ports[name]}"
            for name, node in self.nodes.items()
        )

    @property
    def variables(self) -> dict[str, str]:
        """Return the variables with the cluster's addresses."""
        return {
            "RABBITMQ_URL": ",".join(self.urls),
            "RABBITMQ_MANAGEMENT_URL": ",".join(self.management_urls),
        }

    def commands(self) -> list[Command]:
        """Write the nodes' configuration; return the commands that start them."""
        return [
            msgspec.structs.replace(rabbitmq.command(self.home, node), start_limit=START_SECONDS)
            for node in self.nodes.values()
        ]

    async def running(self, name: str) -> int:
        """Return how many nodes are in the cluster, as the node `name` sees it; 0 if it is down."""
        said = await self.evaluate(name, _RUNNING)
        return int(said) if said.isdigit() else 0

    async def evaluate(self, name: str, code: str) -> str:
        """Return the value of the Erlang `code` on the node `name`; "" if the node does not answer.

        The call comes from the node's own network, so it works even if the node is cut off.
        Source: https://www.erlang.org/doc/apps/erl_interface/erl_call_cmd
        """
        node = self.nodes[name]
        asking = await asyncio.create_subprocess_exec(
            *(*node.host.inside, "erl_call", "-address", f"{node.host.address}:{node.erlang_port}"),
            "-e",
            env=rabbitmq.environment(self.home, node),
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            start_new_session=True,  # protects it from a Ctrl-C at the terminal
        )
        output = b""
        try:
            with suppress(TimeoutError):  # it is frozen
                async with asyncio.timeout(_ANSWER_SECONDS):
                    output, _ = await asking.communicate(f"{code}\n".encode())
        finally:
            if asking.returncode is None:
                asking.kill()
                await asking.wait()
        said = output.decode().strip()
        return said.removeprefix("{ok, ").removesuffix("}") if said.startswith("{ok, ") else ""

    async def finds_back(self, name: str, others: Iterable[str]) -> bool:
        """Return whether the node, when reachable again, agrees with `others` on the members.

        A node that resumes just after the others declared it lost may not notice that it was gone.
        They then leave it out until it is restarted.
        Source: https://www.rabbitmq.com/docs/partitions#recovering
        """

        async def agree() -> bool:
            said = await asyncio.gather(*map(self.running, {name, *others}))
            return len(set(said)) == 1

        async def settled() -> bool:
            if not await agree():
                return False
            await asyncio.sleep(_SETTLES_SECONDS)  # some may not have noticed yet
            return await agree()

        with suppress(TimeoutError):
            async with asyncio.timeout(FINDS_BACK_SECONDS):
                await until(settled)
                return True
        return False

    async def stays_paused(self, name: str) -> bool:
        """Return whether the node's process answers, but its broker does not start."""

        async def is_up() -> bool:
            return await self.evaluate(name, "rabbit:is_booted().") != "false"

        with suppress(TimeoutError):
            async with asyncio.timeout(FINDS_BACK_SECONDS):
                await until(is_up)
                return False
        return True

    async def are_healthy(self) -> bool:
        """Return whether each node sees all nodes in the cluster."""
        said = await asyncio.gather(*map(self.running, self.nodes))
        return all(number == len(self.nodes) for number in said)


def choose(home: Path, network: Network) -> Brokers:
    """Return the nodes of the instance at `home`, with its stored ports and secrets."""
    hosts = {_erlang_host(name): network.hosts[name].address for name in NAMES}
    password = instance.remember(home, "rabbitmq_password", lambda: secrets.token_urlsafe(24))
    nodes = "\n".join(
        f"cluster_formation.classic_config.nodes.{number} = {_erlang_name(name)}"
        for number, name in enumerate(NAMES, 1)
    )
    cookie = instance.remember(home, "erlang_cookie", lambda: secrets.token_hex(16))
    epmd_port = instance.port(home, "epmd")
    management_ports = {name: instance.port(home, f"management.{name}") for name in NAMES}

    def node(name: str, host: Host) -> Node:
        # The first node finds no other, and so forms the cluster that the others join.
        retries = 2 if name == NAMES[0] else 120
        settings = _SETTINGS.format(
            user=USER,
            password=password,
            nodes=nodes,
            retries=retries,
            address=host.address,
            management_port=management_ports[name],
        )
        return Node(
            name=name,
            erlang_name=_erlang_name(name),
            port=instance.port(home, name),
            erlang_port=instance.port(home, f"erlang.{name}"),
            epmd_port=epmd_port,
            host=host,
            settings=settings,
            cookie=cookie,
            erlang_hosts=hosts,
            plugins=("rabbitmq_management",),
        )

    nodes_by_name = {name: node(name, network.hosts[name]) for name in NAMES}
    return Brokers(home, nodes_by_name, management_ports, password)


async def start(supervisor: Supervisor, brokers: Brokers) -> dict[str, str]:
    """Start the nodes; when they are one cluster, return the variables with its addresses.

    Raises:
        CannotStart: a node does not start.
    """
    commands = brokers.commands()
    known = [each for each in commands if (brokers.home / each.name / "data").exists()]
    # Nodes of an existing cluster wait for those that stopped after them, so start all at once.
    # New nodes that start together may form separate clusters, so start one alone first.
    founders = known or commands[:1]
    await side_by_side(map(supervisor.run, founders))
    await side_by_side(supervisor.run(each) for each in commands if each not in founders)
    return brokers.variables


def _erlang_host(name: str) -> str:
    """Return the host in the node's name. It must not change with the address, or data is lost."""
    return name.replace(".", "-")


def _erlang_name(name: str) -> str:
    # On loopback all nodes share one name server, so the part before the @ has to differ as well.
    host = _erlang_host(name)
    return f"{host}@{host}"
