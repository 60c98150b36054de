"""The whole system in a folder of its own, with a proxy on every process's way to its parts."""

from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import msgspec

from cartwheel.local.console import QUIET, Console
from cartwheel.local.parts import side_by_side
from cartwheel.local.processes import PROCESSES, command, copies
from cartwheel.local.supervisor import Supervisor
from cartwheel.local.up import System, running

from ..proxy import Proxy, proxy_to

SERVICES = ("products", "orders", "payments", "notifications")
OWN = (*SERVICES, "gateway")
PARTS = {"rabbitmq": "RABBITMQ_URL", "mongod": "MONGODB_URI", "aws": "AWS_ENDPOINT_URL"}


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
    home: Path,
    *,
    settings: Mapping[str, str],
    numbers: Mapping[str, int] = {},
    console: Console = QUIET,
) -> AsyncGenerator[Rig]:
    """Yield the running system; `settings` go to every process, `numbers` says of which there are
    several copies (those of the gateway share one port)."""
    async with (
        running(home, given={}, processes=(), console=console) as system,
        AsyncExitStack() as stack,
    ):
        proxies: dict[tuple[str, str], Proxy] = {}
        shared = {**system.environment, **settings, "SHARE_PORT": str("gateway" in numbers)}
        simulator, *own = PROCESSES
        commands = [command(simulator, shared)]
        for process in own:
            for copy in copies(process, numbers.get(process.name, 1)):
                environment = dict(shared)
                for part, variable in PARTS.items():
                    proxy, url = await stack.enter_async_context(proxy_to(environment[variable]))
                    proxies[copy.name, part] = proxy
                    environment[variable] = _directly(url) if part == "mongod" else url
                commands.append(command(copy, environment))
        await side_by_side(system.supervisor.run(one) for one in commands)
        try:
            yield Rig(home, system, proxies)
        finally:
            # While they still reach their parts.
            await system.supervisor.stop(*{process for process, _ in proxies})


def _directly(uri: str) -> str:
    """Return `uri` without its replica set, whose members name addresses past the proxy."""
    return urlunsplit(urlsplit(uri)._replace(query="directConnection=true"))
