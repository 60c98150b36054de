"""The simulator's process: `python -m cartwheel.simulator.app`."""

import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import AsyncGenerator
from datetime import timedelta
from pathlib import Path

import uvloop
from aiohttp import web

from cartwheel.kernel import log
from cartwheel.kernel.lowlevel import CannotListen, configure, listen, no_core_dumps, notify
from cartwheel.kernel.settings import read_or_exit
from cartwheel.simulator.api import make_app
from cartwheel.simulator.dependencies import Dependencies
from cartwheel.simulator.faults import Faults
from cartwheel.simulator.group_commit import GroupCommit
from cartwheel.simulator.schema import MIGRATIONS
from cartwheel.simulator.settings import Settings
from cartwheel.simulator.webhooks import Webhooks

STOP_WITHIN_SECONDS = 1.0
"""Seconds that running requests get to finish. A request delayed by a fault is cut off."""


async def run(settings: Settings) -> None:
    """Serve until SIGTERM or Ctrl-C."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    listener = listen(settings.host, settings.simulator_port, variable="SIMULATOR_PORT")
    store = GroupCommit(Path(settings.simulator_ledger), MIGRATIONS)
    try:
        async with _sending_webhooks(store, settings) as webhooks:
            dependencies = Dependencies(
                ledger=store,
                faults=Faults(),
                webhooks=webhooks,
                api_key=settings.simulator_api_key,
                publishable_key=settings.simulator_publishable_key,
                authorized_for=timedelta(seconds=settings.simulator_authorization_seconds),
                shop=settings.simulator_shop_origins,
                public_url=settings.simulator_public_url,
            )
            async with _serving(dependencies, listener):
                notify("READY=1")
                await stop.wait()
                notify("STOPPING=1")
    finally:
        await store.close()


@contextlib.asynccontextmanager
async def _sending_webhooks(
    store: GroupCommit, settings: Settings
) -> AsyncGenerator[Webhooks | None]:
    if not settings.simulator_webhook_url:
        yield None
        return
    webhooks = Webhooks(
        store, url=settings.simulator_webhook_url, secret=settings.simulator_webhook_secret
    )
    # If sending fails (because the disk is full, say), the task group ends the process. A restart
    # is better than a simulator that charges without sending webhooks.
    async with asyncio.TaskGroup() as group:
        sending = group.create_task(webhooks.run())
        yield webhooks
        sending.cancel()  # webhooks in flight are sent again after the next start


@contextlib.asynccontextmanager
async def _serving(dependencies: Dependencies, listener: socket.socket) -> AsyncGenerator[None]:
    runner = web.AppRunner(
        make_app(dependencies), access_log=None, shutdown_timeout=STOP_WITHIN_SECONDS
    )
    await runner.setup()
    try:
        await web.SockSite(runner, listener).start()
        host, port = runner.addresses[0][:2]
        log.info("listening", host=host, port=port, webhooks=dependencies.webhooks is not None)
        yield
    finally:
        await runner.cleanup()


def main() -> None:
    no_core_dumps()
    settings = read_or_exit("simulator", Settings)
    configure("simulator", settings.log_level)
    try:
        uvloop.run(run(settings))
    except CannotListen as error:
        sys.exit(f"simulator cannot start: {error}")


if __name__ == "__main__":
    main()
