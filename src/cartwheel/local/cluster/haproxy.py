"""HAProxy in front of the gateways. It sends requests only to gateways that report ready."""

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
"""A layer above the gateways, so HAProxy is stopped before them."""

_SETTINGS = """\
defaults
    mode http
    option forwardfor
    timeout connect 1s
    # Longer than the gateway's own limit of 10 s, so that the gateway's answer comes first.
    timeout client 60s
    timeout server 60s
    timeout check 2s
    # A gateway that refuses a connection has not seen the request, so another one may get it.
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
    # A gateway that reports unready gets no requests after 2 s. It runs on for DRAIN_SECONDS. One
    # that is ready gets requests after 0.1 s, so it is there before the next one is stopped.
    default-server check inter 1s fastinter 1s downinter 100ms fall 2 rise 1
{servers}
"""


def find() -> str | None:
    return shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/local/sbin:/usr/sbin")


def missing_packages() -> dict[str, str]:
    """Return the missing Debian packages, each with its purpose."""
    return {} if find() else {"haproxy": "the balancer before the gateways"}


def command(home: Path, host: str, port: int, gateways: Mapping[str, int]) -> Command:
    """Return the command for the balancer at `host`, for gateways on these ports of loopback."""
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
    """Return when a gateway answers through HAProxy."""
    async with aiohttp.ClientSession(f"http://{ports.in_url(host)}:{port}") as http:
        while True:
            with suppress(aiohttp.ClientError):
                async with http.get("/health/live") as response:
                    if response.ok:
                        return
            await asyncio.sleep(0.1)
