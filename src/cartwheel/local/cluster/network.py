"""A network on this machine in which every node has an address and a cable that can be pulled.

Each node gets a network namespace. A pair of virtual interfaces (veth) joins it to a bridge, which
is connected to the machine. Pulling the cable means setting the outer end of the pair down: then
nothing arrives in either direction, and no connection is reset.

    198.19.7.1 cw-3f9a01 (bridge) ── cw-3f9a01-1 ── 198.19.7.11 eth0, in cw-3f9a01-rabbitmq.1

It needs root and iproute2. If it cannot be made, all nodes share loopback.
Source: https://man7.org/linux/man-pages/man8/ip-netns.8.html
"""

import asyncio
import errno
import hashlib
import ipaddress
import os
import shutil
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec

from cartwheel.local.console import Console
from cartwheel.local.host import LOOPBACK, Host

_SUBNETS = ipaddress.IPv4Network("198.19.0.0/16")
"""Reserved for measuring equipment (RFC 2544), so no company or provider uses it."""
_FIRST_NODE = 11

_CAN_CONNECT = """
import socket, sys
with socket.socket() as probe:
    probe.settimeout(2)
    sys.exit(probe.connect_ex((sys.argv[1], 9)) != int(sys.argv[2]))
"""
"""Nobody listens on that port, so a packet that gets through is refused at once."""


class CannotCutOff(Exception):
    """The nodes share loopback. The message says why."""


class _Impossible(Exception):
    """This machine does not allow network namespaces. The message says why."""


class Network(msgspec.Struct, frozen=True):
    """The nodes' hosts. Without `cables`, all are on loopback, for the reason `why_not`."""

    hosts: Mapping[str, Host]
    cables: Mapping[str, str] = {}
    why_not: str = ""

    async def cut_off(self, name: str) -> None:
        """Pull the node's cable: it reaches nobody, and nobody reaches it. Repeatable.

        Raises:
            CannotCutOff: the node is on loopback.
        """
        await _ip("link", "set", self._cable(name), "down")

    async def connect(self, name: str) -> None:
        """Plug the node's cable in again. Repeatable.

        Raises:
            CannotCutOff: the node is on loopback.
        """
        await _ip("link", "set", self._cable(name), "up")

    def _cable(self, name: str) -> str:
        if not self.cables:
            raise CannotCutOff(f"{name} cannot be cut off: {self.why_not}")
        return self.cables[name]


def missing_packages() -> dict[str, str]:
    """Return the Debian packages that are missing for network namespaces."""
    return {} if _program() or os.geteuid() else {"iproute2": "a network for each node"}


@asynccontextmanager
async def network(
    home: Path, names: Sequence[str], console: Console, *, wanted: bool = True
) -> AsyncGenerator[Network]:
    """Yield the network of the instance at `home`, after removing leftovers of an earlier run.

    The body must have ended all processes in the network. If it is not `wanted`, or not possible,
    all nodes share loopback.
    """
    tag = tag_of(home)
    try:
        try:
            laid = await _lay(tag, names, wanted=wanted)
        except _Impossible as impossible:
            console.say(f"  all nodes share 127.0.0.1, none can be cut off: {impossible}")
            laid = Network(dict.fromkeys(names, LOOPBACK), why_not=str(impossible))
        yield laid
    finally:
        await _remove(tag)


async def remove(home: Path) -> None:
    """Remove what a killed run of the instance at `home` has left behind. Repeatable."""
    await _remove(tag_of(home))


def tag_of(home: Path) -> str:
    """Return the prefix of all names in the instance's network."""
    return f"cw-{hashlib.sha256(str(home).encode()).hexdigest()[:6]}"


async def _lay(tag: str, names: Sequence[str], *, wanted: bool) -> Network:
    """Make the network.

    Raises:
        _Impossible: the machine does not allow it.
    """
    if not wanted:
        raise _Impossible("no network was wanted")
    if os.geteuid():
        raise _Impossible("only root can make network namespaces")
    if _program() is None:
        raise _Impossible("the command `ip` is missing (Debian's iproute2)")
    await _remove(tag)
    subnet = await _free_subnet(tag)
    gateway = f"{subnet[1]}/{subnet.prefixlen}"
    await _ip("link", "add", tag, "type", "bridge")
    await _ip("addr", "add", gateway, "dev", tag)
    await _ip("link", "set", tag, "up")
    hosts: dict[str, Host] = {}
    cables: dict[str, str] = {}
    for number, name in enumerate(names, 1):
        namespace, cable = f"{tag}-{name}", f"{tag}-{number}"
        address = str(subnet[_FIRST_NODE + number - 1])
        there = ("-n", namespace)
        await _ip("netns", "add", namespace)
        await _ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", namespace)
        await _ip("link", "set", cable, "master", tag, "up")
        await _ip(*there, "addr", "add", f"{address}/{subnet.prefixlen}", "dev", "eth0")
        await _ip(*there, "link", "set", "eth0", "up")
        await _ip(*there, "link", "set", "lo", "up")
        hosts[name] = Host(address, (_program() or "ip", "netns", "exec", namespace))
        cables[name] = cable
    await _check(*list(hosts.values())[:2])
    return Network(hosts, cables)


async def _check(one: Host, other: Host) -> None:
    """Check that `one` reaches `other`.

    Raises:
        _Impossible: a firewall is in between. Docker makes the kernel filter bridged packets.
    """
    process = await asyncio.create_subprocess_exec(
        *(*one.inside, sys.executable, "-S", "-c", _CAN_CONNECT),
        *(other.address, str(errno.ECONNREFUSED)),
    )
    if await process.wait():
        raise _Impossible("this machine's firewall drops what the namespaces send each other")


async def _free_subnet(tag: str) -> ipaddress.IPv4Network:
    """Return a /24 to which this machine has no route: last time's, if it is free."""
    subnets = list(_SUBNETS.subnets(new_prefix=24))
    first = int(tag.removeprefix("cw-"), 16) % len(subnets)
    routes = [line.split()[0] for line in (await _ip("-4", "route", "list")).splitlines() if line]
    taken = [ipaddress.IPv4Network(each) for each in routes if each[0].isdigit()]
    for subnet in (*subnets[first:], *subnets[:first]):
        if not any(subnet.overlaps(each) for each in taken):
            return subnet
    raise _Impossible(f"all of {_SUBNETS} is taken")


async def _remove(tag: str) -> None:
    """Remove everything named after `tag`. Repeatable. Without `ip`, there is nothing to do."""
    if os.geteuid() or _program() is None:
        return
    links = (await _ip("-o", "link", "list")).splitlines()
    names = [line.split(":")[1].strip().partition("@")[0] for line in links]
    for name in names:
        if name == tag or name.startswith(f"{tag}-"):
            with suppress(_Impossible):  # it was removed together with its namespace
                await _ip("link", "del", name)
    for line in (await _ip("netns", "list")).splitlines():
        if line.startswith(f"{tag}-"):
            with suppress(_Impossible):  # the next start finds it again
                await _ip("netns", "del", line.split()[0])


def _program() -> str | None:
    return shutil.which("ip", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


async def _ip(*words: str) -> str:
    """Run `ip`; return its output.

    Raises:
        _Impossible: it failed.
    """
    process = await asyncio.create_subprocess_exec(
        *(_program() or "ip", *words),
        stdout=PIPE,
        stderr=PIPE,
        start_new_session=True,  # protects it from a Ctrl-C at the terminal
    )
    output, complaint = await process.communicate()
    if process.returncode:
        raise _Impossible(f"`ip {' '.join(words)}` says {complaint.decode().strip()}")
    return output.decode()
