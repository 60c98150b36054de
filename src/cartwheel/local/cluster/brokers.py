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
from cartwheel.local.host import Host
from cartwheel.local.parts import side_by_side
from cartwheel.local.rabbitmq import Node
from cartwheel.local.supervisor import Supervisor

NAMES = ("rabbitmq.1", "rabbitmq.2", "rabbitmq.3")
USER = "cartwheel"
START_SECONDS = 180.0
"""A node that was not the last to stop waits for the others, and three boot at once."""

FINDS_BACK_SECONDS = 20.0
"""A node that was cut off notices after up to 7 s, and then starts anew."""

_SETTLES_SECONDS = 2.0
_ANSWER_SECONDS = 3.0

_SETTINGS = """\
default_user = {user}
default_pass = {password}

cluster_formation.peer_discovery_backend = classic_config
{nodes}
cluster_formation.discovery_retry_limit = {retries}
cluster_formation.discovery_retry_interval = 500

# Of a cluster in two, only the greater part goes on: nothing is confirmed by both.
cluster_partition_handling = pause_minority
# A node that has said nothing for 5 s is taken for lost. Until then, whatever needs all nodes, such
# as declaring a queue, waits for it; by default that would be 60 s.
net_ticktime = 5
# Otherwise every leader is on the node that `cartwheel setup` has reached.
queue_leader_locator = balanced

# `cartwheel setup` looks after the queues' members here. It needs no statistics, which cost much.
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
"""RabbitMQ 3.10 has the last name, 4.0 the one before."""


class Brokers(msgspec.Struct, frozen=True):
    """The nodes by their names, and the password of their user."""

    home: Path
    nodes: dict[str, Node]
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
            f"http://{USER}:{self.password}@{node.host.address}:{_management_port(self.home, name)}"
            for name, node in self.nodes.items()
        )

    @property
    def variables(self) -> dict[str, str]:
        """What reaches the cluster."""
        return {
            "RABBITMQ_URL": ",".join(self.urls),
            "RABBITMQ_MANAGEMENT_URL": ",".join(self.management_urls),
        }

    def commands(self) -> list[Command]:
        """Write the nodes' configuration; return how they are started."""
        return [
            msgspec.structs.replace(rabbitmq.command(self.home, node), start_limit=START_SECONDS)
            for node in self.nodes.values()
        ]

    async def running(self, name: str) -> int:
        """Return how many nodes take part, in the opinion of the node `name`; 0 if it has none."""
        said = await self.evaluate(name, _RUNNING)
        return int(said) if said.isdigit() else 0

    async def evaluate(self, name: str, code: str) -> str:
        """Return the value of `code`, in Erlang, at the node `name`; "" where it does not answer.

        It is asked from beside it, so also when it is cut off.
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
            start_new_session=True,  # a Ctrl-C at the terminal is not for it
        )
        output = b""
        try:
            with suppress(TimeoutError):  # it is frozen
                async with asyncio.timeout(_ANSWER_SECONDS):
                    output, _ = await asking.communicate(code.encode())
        finally:
            if asking.returncode is None:
                asking.kill()
                await asking.wait()
        said = output.decode().strip()
        return said.removeprefix("{ok, ").removesuffix("}") if said.startswith("{ok, ") else ""

    async def finds_back(self, name: str, others: Iterable[str]) -> bool:
        """Return whether the node, reachable again, comes to agree with `others` on who takes part.

        One that goes on just when the others have given it up may not notice that it was away: they
        leave it out from then on, until it is restarted.
        Source: https://www.rabbitmq.com/docs/partitions#recovering
        """

        async def agree() -> bool:
            said = await asyncio.gather(*map(self.running, {name, *others}))
            return len(set(said)) == 1

        async def settled() -> bool:
            if not await agree():
                return False
            await asyncio.sleep(_SETTLES_SECONDS)  # they may only not have noticed yet
            return await agree()

        with suppress(TimeoutError):
            async with asyncio.timeout(FINDS_BACK_SECONDS):
                await until(settled)
                return True
        return False

    async def are_healthy(self) -> bool:
        """Return whether each node says that all take part."""
        said = await asyncio.gather(*map(self.running, self.nodes))
        return all(number == len(self.nodes) for number in said)


def choose(home: Path, network: Network) -> Brokers:
    """Return the nodes of the instance at `home`, with the ports and secrets that it remembers."""
    hosts = {_erlang_host(name): network.hosts[name].address for name in NAMES}
    password = instance.remember(home, "rabbitmq_password", lambda: secrets.token_urlsafe(24))
    nodes = "\n".join(
        f"cluster_formation.classic_config.nodes.{number} = {_erlang_name(name)}"
        for number, name in enumerate(NAMES, 1)
    )
    cookie = instance.remember(home, "erlang_cookie", lambda: secrets.token_hex(16))
    epmd_port = instance.port(home, "epmd")

    def node(name: str, host: Host) -> Node:
        # The first looks for the others in vain, and is then the cluster that they join.
        retries = 2 if name == NAMES[0] else 120
        settings = _SETTINGS.format(
            user=USER,
            password=password,
            nodes=nodes,
            retries=retries,
            address=host.address,
            management_port=_management_port(home, name),
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

    return Brokers(home, {name: node(name, network.hosts[name]) for name in NAMES}, password)


async def start(supervisor: Supervisor, brokers: Brokers) -> dict[str, str]:
    """Start the nodes; return when they are one cluster, with the variables that reach it.

    Raises:
        CannotStart: one does not start.
    """
    commands = brokers.commands()
    known = [each for each in commands if (brokers.home / each.name / "data").exists()]
    # Nodes that are a cluster wait for those that have stopped after them, so all at once. Two that
    # are none yet may each become one of their own, so first one alone.
    founders = known or commands[:1]
    await side_by_side(map(supervisor.run, founders))
    await side_by_side(supervisor.run(each) for each in commands if each not in founders)
    return brokers.variables


def _management_port(home: Path, name: str) -> int:
    return instance.port(home, f"management.{name}")


def _erlang_host(name: str) -> str:
    """Return the host in the node's name. It stays when the address changes, as the data must."""
    return name.replace(".", "-")


def _erlang_name(name: str) -> str:
    # On loopback, where all share one name server, what is before the @ has to differ as well.
    host = _erlang_host(name)
    return f"{host}@{host}"
