"""Cartwheel's own processes, each more than once: `orders.1`, `orders.2`, `gateway.1`, …"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from cartwheel.local import instance
from cartwheel.local.cluster import haproxy
from cartwheel.local.command import Command
from cartwheel.local.processes import GATEWAY, Process, command
from cartwheel.services import SERVICES

_DRAIN_SECONDS = "5"


def with_drain(given: Mapping[str, str]) -> dict[str, str]:
    """Return `given` with a drain time for the gateways, unless it sets one.

    HAProxy notices within 2 s that a gateway is unready.
    """
    return {**given, "DRAIN_SECONDS": given.get("DRAIN_SECONDS") or _DRAIN_SECONDS}


def commands(
    home: Path, environment: Mapping[str, str], processes: Iterable[Process], replicas: int
) -> list[Command]:
    """Return the commands for `replicas` of each process, and for the balancer of the gateways.

    There is one simulator, because it stands for an external system. Only gateways drain: callers
    of a service learn at once that a replica stops.
    """
    drain = environment["DRAIN_SECONDS"]
    environment = {**environment, "DRAIN_SECONDS": "0"}
    started: list[Command] = []
    gateways: dict[str, int] = {}
    for process in processes:
        if process.name not in (*SERVICES, GATEWAY):
            alone = command(process, environment)
            started.append(msgspec.structs.replace(alone, where=environment["SIMULATOR_URL"]))
            continue
        for number in range(1, replicas + 1):
            name = f"{process.name}.{number}"
            port = instance.port(home, name)
            if process.name == GATEWAY:
                gateways[name] = port
            replica = msgspec.structs.replace(process, name=name)
            how = command(replica, {**environment, **_own(process.name, port, drain)})
            where = f"127.0.0.1:{port}"
            started.append(msgspec.structs.replace(how, where=where))
    if gateways:
        port = int(environment["PORT"])
        started.append(haproxy.command(home, environment["HOST"], port, gateways))
    return started


def _own(process: str, port: int, drain_seconds: str) -> dict[str, str]:
    """Return the variables that differ between replicas: the port of the API or of /health."""
    if process == GATEWAY:
        return {
            "HOST": "127.0.0.1",
            "PORT": str(port),
            "TRUSTED_PROXIES": "127.0.0.1",
            "DRAIN_SECONDS": drain_seconds,
        }
    return {"HEALTH_PORT": str(port)}
