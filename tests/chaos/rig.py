"""The whole system in a folder of its own, with a proxy on every process's way to its parts."""

from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import msgspec

from cartwheel.local.console import QUIET, Console
from cartwheel.local.parts import side_by_side
from cartwheel.local.processes import PROCESSES, Process, command
from cartwheel.local.supervisor import Supervisor
from cartwheel.local.up import System, running

from ..proxy import Proxy, proxy_to

SERVICES = ("products", "orders", "payments", "notifications")
OWN = (*SERVICES, "gateway")
PARTS = {"rabbitmq": "RABBITMQ_URL", "mongod": "MONGODB_URI"}


class Rig(msgspec.Struct, frozen=True):
    """`proxies` are named by process and part: `proxies["orders", "mongod"]`."""

    home: Path
    system: System
    proxies: dict[tuple[str, str], Proxy]

    @property
    def supervisor(self) -> Supervisor:
        return self.system.supervisor

    def between(self, process: str | None, part: str) -> Iterable[Proxy]:
        """Return the proxies between a process (all, for None) and a part."""
        return [
            proxy
            for (owner, other), proxy in self.proxies.items()
            if other == part and process in (None, owner)
        ]


@asynccontextmanager
async def rigged(
    home: Path, *, settings: Mapping[str, str], gateways: int = 1, console: Console = QUIET
) -> AsyncGenerator[Rig]:
    """Yield the running system; `settings` go to every process, `gateways` share one port."""
    async with (
        running(home, given={}, processes=(), console=console) as system,
        AsyncExitStack() as stack,
    ):
        proxies: dict[tuple[str, str], Proxy] = {}
        commands = [
            command(process, {**system.environment, **settings}) for process in PROCESSES[:1]
        ]
        gateway = next(process for process in PROCESSES if process.name == "gateway")
        more = [Process(f"gateway-{number}", gateway.argv) for number in range(2, gateways + 1)]
        for process in (*PROCESSES[1:], *more):
            environment = {**system.environment, **settings, "SHARE_PORT": str(bool(more))}
            for part, variable in PARTS.items():
                proxy, url = await stack.enter_async_context(proxy_to(environment[variable]))
                proxies[process.name, part] = proxy
                environment[variable] = _directly(url) if part == "mongod" else url
            commands.append(command(process, environment))
        await side_by_side(system.supervisor.run(one) for one in commands)
        try:
            yield Rig(home, system, proxies)
        finally:
            await system.supervisor.stop(
                *OWN, *(process.name for process in more)
            )  # while they still reach their parts


def _directly(uri: str) -> str:
    """Return `uri` without its replica set, whose members name addresses past the proxy."""
    return urlunsplit(urlsplit(uri)._replace(query="directConnection=true"))
