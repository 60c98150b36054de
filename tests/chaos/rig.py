"""The whole system in its own folder, with a proxy between each process and its dependencies."""

from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec

from cartwheel.local.console import QUIET, Console
from cartwheel.local.dependencies import side_by_side
from cartwheel.local.processes import PROCESSES, Process, command, replicas
from cartwheel.local.supervisor import Supervisor
from cartwheel.local.up import System, running
from cartwheel.services import SERVICES

from ..proxy import Proxy, proxy_to
from ..replica_set import ReplicaSet, replica_set
from ..scripted_ses import ScriptedSes, scripted_ses
from .clocks import Clocks, clocks
from .mischief import Mischief

OWN = (*SERVICES, "gateway")
PARTS = {"rabbitmq": "RABBITMQ_URL", "mongod": "MONGODB_URI", "aws": "AWS_ENDPOINT_URL"}


class Rig(msgspec.Struct, frozen=True):
    """The running system. `proxies` are named by process and dependency, as in
    `proxies["orders", "mongod"]`.

    With `members` there are three mongods, and none of them is behind a proxy.
    """

    home: Path
    system: System
    proxies: dict[tuple[str, str], Proxy]
    ses: ScriptedSes
    mischief: Mischief
    clocks: Clocks | None = None
    members: ReplicaSet | None = None

    @property
    def supervisor(self) -> Supervisor:
        return self.system.supervisor

    def copies(self, process: str) -> list[str]:
        """Return the names of all replicas of a process."""
        return [name for name in self.supervisor.names if name.partition(".")[0] == process]

    def between(self, process: str | None, part: str) -> Iterable[Proxy]:
        """Return the proxies between a process (None: all processes) and a dependency."""
        return [
            proxy
            for (owner, other), proxy in self.proxies.items()
            if other == part and process in (None, owner)
        ]


@asynccontextmanager
async def rigged(
    home: Path,
    *,
    settings: Mapping[str, str],
    numbers: Mapping[str, int] = {},
    replicated: bool = False,
    jumping_clocks: bool = False,
    console: Console = QUIET,
) -> AsyncGenerator[Rig]:
    """Yield the running system.

    Args:
        settings: variables for every process.
        numbers: how many replicas of a process there are (those of the gateway share a port).
        replicated: MongoDB has three members.
        jumping_clocks: the services' clocks can be set; needs `clocks.install`.
    """
    async with AsyncExitStack() as stack:
        members = (
            await stack.enter_async_context(replica_set(home / "members")) if replicated else None
        )
        given = {"MONGODB_URI": members.uri} if members else {}
        system = await stack.enter_async_context(
            running(home, given=given, processes=(), console=console)
        )
        rig = Rig(
            home,
            system,
            proxies={},
            ses=await stack.enter_async_context(
                scripted_ses(system.environment["AWS_ENDPOINT_URL"])
            ),
            mischief=Mischief(home / "mischief"),
            clocks=stack.enter_context(clocks(home / "clocks")) if jumping_clocks else None,
            members=members,
        )
        shared = {**system.environment, **settings, "SHARE_PORT": str("gateway" in numbers)}
        simulator, *own = PROCESSES
        commands = [command(simulator, shared)]
        for process in own:
            for copy in replicas(process, numbers.get(process.name, 1)):
                commands.append(
                    command(copy, await _surround(rig, process.name, copy, shared, stack))
                )
        await side_by_side(system.supervisor.run(one) for one in commands)
        try:
            yield rig
        finally:
            # Stop them while they still reach their dependencies.
            await system.supervisor.stop(*{process for process, _ in rig.proxies})


async def _surround(
    rig: Rig, process: str, copy: Process, shared: Mapping[str, str], stack: AsyncExitStack
) -> dict[str, str]:
    """Return the environment of a replica, with proxies as the addresses of its dependencies."""
    environment = {**shared, **rig.mischief.environment()}
    if process == "notifications":
        environment["AWS_ENDPOINT_URL"] = rig.ses.url
    if rig.clocks and process in SERVICES:
        environment |= rig.clocks.environment(copy.name)
    for part, variable in PARTS.items():
        if part == "mongod" and rig.members:
            continue
        proxy, url = await stack.enter_async_context(proxy_to(environment[variable]))
        rig.proxies[copy.name, part] = proxy
        environment[variable] = url
    return environment
