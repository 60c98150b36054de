"""`cartwheel cluster up`, and the commands in another terminal."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from cartwheel.local import instance, leftovers, ports
from cartwheel.local.cluster.network import remove

START_SECONDS = 180


@asynccontextmanager
async def up(home: Path, environment: Mapping[str, str]) -> AsyncGenerator[Process]:
    """Run the cluster in a separate process; wait until other processes can reach it."""
    process = await typed("cluster", "up", environment=environment)
    try:
        async with asyncio.timeout(START_SECONDS):
            while not instance.environment(home):
                assert process.returncode is None, await process.communicate()
                await asyncio.sleep(0.2)
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
        await leftovers.clear(home, grace=0)
        await remove(home)


async def typed(*words: str, environment: Mapping[str, str]) -> Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cartwheel.cli", *words),
        env=environment,
        stdout=PIPE,
        stderr=STDOUT,
    )


async def test_a_cluster_is_started_bought_from_restarted_in_part_and_stopped(
    tmp_path: Path,
) -> None:
    environment = {
        **os.environ,
        "CARTWHEEL_HOME": str(tmp_path / "shop"),
        "PORT": str(ports.find_free()),
        "COLUMNS": "200",
        "DRAIN_SECONDS": "2",
    }

    async def says(*words: str) -> str:
        process = await typed(*words, environment=environment)
        output, _ = await process.communicate()
        assert process.returncode == 0, output.decode()
        return output.decode()

    home = tmp_path / "shop-cluster"
    async with up(home, environment) as process:
        listed = await says("cluster", "status")
        for name in ("rabbitmq.3", "mongod.3", "orders.2", "gateway.2", "haproxy"):
            assert name in listed
        assert "PAID" in await says("demo")

        await says("cluster", "restart", "gateway.1", "orders.1", "mongod.1")
        await says("cluster", "kill", "gateway.2")
        assert "PAID" in await says("demo")
        assert "killed" in await says("cluster", "status")
        assert "`cartwheel cluster down`" in await says("down")

        process.send_signal(signal.SIGINT)
        output, _ = await process.communicate()
        assert process.returncode == 0, output.decode()
        assert "Traceback" not in output.decode()

    assert leftovers.find(home) == []
