"""Each node has its own address, and a cable that can be pulled."""

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

from cartwheel.local.cluster.network import network, tag_of
from cartwheel.local.console import QUIET

from .conftest import needs_namespaces

NAMES = ("one.1", "two.1")
LAY_AND_DIE = """
import asyncio, os, signal, sys
from pathlib import Path
from cartwheel.local.cluster.network import network
from cartwheel.local.console import QUIET
async def main():
    async with network(Path(sys.argv[1]), ("one.1", "two.1"), QUIET):
        os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""
LISTEN = """
import socket, sys
with socket.create_server((sys.argv[1], 4000)) as server:
    print("listening", flush=True)
    while True:
        server.accept()[0].close()
"""
pytestmark = needs_namespaces


async def left_of(home: Path) -> list[str]:
    """Return what `ip` lists under the names of this instance's network."""
    names: list[str] = []
    for words in (("-br", "link"), ("netns", "list")):
        asked = await asyncio.create_subprocess_exec("ip", *words, stdout=PIPE)
        output, _ = await asked.communicate()
        names += [line.split()[0] for line in output.decode().splitlines() if line.strip()]
    return [name for name in names if name.startswith(tag_of(home))]


async def connects(address: str) -> bool:
    try:
        async with asyncio.timeout(1):
            _, writer = await asyncio.open_connection(address, 4000)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


async def test_a_node_that_is_cut_off_is_not_reached_until_it_is_connected_again(
    tmp_path: Path,
) -> None:
    async with network(tmp_path, NAMES, QUIET) as laid:
        one = laid.hosts["one.1"]
        listening = await asyncio.create_subprocess_exec(
            *(*one.inside, sys.executable, "-c", LISTEN, one.address), stdout=PIPE
        )
        assert listening.stdout is not None
        await listening.stdout.readline()
        assert await connects(one.address)

        await laid.cut_off("one.1")
        assert not await connects(one.address)

        await laid.connect("one.1")
        assert await connects(one.address)
        listening.kill()
        await listening.wait()

    assert await left_of(tmp_path) == []


async def test_what_a_killed_run_has_left_is_removed_by_the_next(tmp_path: Path) -> None:
    dying = await asyncio.create_subprocess_exec(sys.executable, "-c", LAY_AND_DIE, str(tmp_path))
    assert await dying.wait() == -signal.SIGKILL
    assert len(await left_of(tmp_path)) == 5  # a bridge, two cables, two namespaces

    async with network(tmp_path, NAMES, QUIET) as laid:
        assert laid.why_not == ""

    assert await left_of(tmp_path) == []
