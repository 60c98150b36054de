"""HAProxy in front of the gateways. It asks each whether it is ready, spares the others."""

import asyncio
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import aiohttp

from cartwheel.local import instance, ports
from cartwheel.local.command import Command

NAME = "haproxy"
LAYER = 3
"""Above the gateways, so it is stopped before them."""

_SETTINGS = """\
defaults
    mode http
    option forwardfor
    timeout connect 1s
    # Longer than the gateway's own 10 s, so that it is the gateway that answers.
    timeout client 60s
    timeout server 60s
    timeout check 2s
    # A gateway that refuses the connection has seen nothing of the request: another one gets it.
    retries 2
    option redispatch 1

frontend api
    bind {address}:{port}
    default_backend gateways

backend gateways
    balance leastconn
    # A connection of its own for each request: one that was kept open may be closed by a gateway
    # that stops, just as the next request is sent on it, and only the client may repeat that.
    # Source: https://github.com/haproxy/haproxy/issues/1423
    option http-server-close
    option httpchk
    http-check send meth GET uri /health/ready
    http-check expect status 200
    # One that says it is unready gets nothing more after 1.5 s; it goes on for DRAIN_SECONDS.
    default-server check inter 1s fastinter 500ms fall 2 rise 1
{servers}
"""


def find() -> str | None:
    return shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/local/sbin:/usr/sbin")


def missing_packages() -> dict[str, str]:
    """Return Debian's packages that are lacking, each with what it is for."""
    return {} if find() else {"haproxy": "the balancer before the gateways"}


def command(home: Path, host: str, port: int, gateways: Mapping[str, int]) -> Command:
    """Return how to start the balancer at `host`, before gateways on these ports of loopback."""
    folder = instance.make_folder(home / NAME)
    address = f"[{host}]" if ":" in host else host
    servers = "\n".join(f"    server {name} 127.0.0.1:{at}" for name, at in gateways.items())
    settings = _SETTINGS.format(address=address, port=port, servers=servers)
    instance.write_private(folder / "haproxy.cfg", settings)
    return Command(
        name=NAME,
        argv=(find() or "haproxy", "-db", "-f", str(folder / "haproxy.cfg")),
        environment={"PATH": os.environ["PATH"], "HOME": str(folder)},
        probe=lambda: _serves(host, port),
        layer=LAYER,
        where=f"http://{ports.in_url(host)}:{port}",
    )


async def _serves(host: str, port: int) -> None:
    """Return when a gateway answers through it."""
    async with aiohttp.ClientSession(f"http://{ports.in_url(host)}:{port}") as http:
        while True:
            with suppress(aiohttp.ClientError):
                async with http.get("/health/live") as response:
                    if response.ok:
                        return
            await asyncio.sleep(0.1)
