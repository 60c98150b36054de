"""Runs a whole instance: for `cartwheel up`, and for tests.

async with running(home) as system:                                   # everything
async with running(home, processes=(), setup=()) as system:           # only the parts
    system.environment["MONGODB_URI"]
    await system.supervisor.stop("payments")
"""

import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from cartwheel.local import instance, leftovers, places, ports
from cartwheel.local.command import Command
from cartwheel.local.console import QUIET, Console
from cartwheel.local.given import check_servers, check_settings
from cartwheel.local.parts import side_by_side, start_parts
from cartwheel.local.preflight import check_port
from cartwheel.local.processes import PROCESSES, SETUP, Process, command, complete, settings
from cartwheel.local.replicas import arranged
from cartwheel.local.supervisor import Supervisor, supervising


class System(msgspec.Struct, frozen=True):
    """A running instance: what reaches it, and who keeps it running."""

    environment: dict[str, str]
    supervisor: Supervisor

    @property
    def url(self) -> str:
        return f"http://{ports.in_url(self.environment['HOST'])}:{self.environment['PORT']}"


@asynccontextmanager
async def running(
    home: Path,
    *,
    port: int | None = None,
    given: Mapping[str, str] = os.environ,
    processes: tuple[Process, ...] = PROCESSES,
    setup: tuple[str, ...] = SETUP,
    console: Console = QUIET,
) -> AsyncGenerator[System]:
    """Run the instance in `home` for as long as the body runs.

    Without a `port` the gateway gets a free one. What `given` names is used, not started. `setup`
    prepares all servers; without it, those that are given are not even looked at.

    Raises:
        instance.InUse: it runs already.
        instance.NotPrivate: something in `home` belongs to another user.
        BadSettings: something that is given is malformed.
        PortUnusable: the gateway cannot listen on `port`.
        Unusable: a server that is given cannot be used.
        packages.Missing: something has to be installed or named first.
        CannotStart: a part or process does not start.
        Unfit: the emulator's tokens do not verify.
    """
    home = absolute(home)
    async with held(home, console):
        check_settings(given)
        if port is not None:
            check_port(port, given, home)
        if setup:
            await check_servers(given, console)
        async with supervising(home, console) as supervisor:
            parts = await start_parts(supervisor, given)
            environment = parts | settings(home, given, port)
            if setup:
                await run_setup(supervisor, setup, environment)
                # Before anything of worth is stored there, and after they have answered.
                places.remember(home, places.given(given))
            await side_by_side(
                supervisor.run(command(process, environment))
                for process in arranged(processes, given)
            )
            instance.write_environment(home, environment)
            yield System(environment, supervisor)


@asynccontextmanager
async def held(home: Path, console: Console) -> AsyncGenerator[None]:
    """Hold the instance for as long as the body runs; what an earlier run left behind is ended.

    Raises:
        instance.InUse: it runs already.
        instance.NotPrivate: something in `home` belongs to another user.
    """
    with instance.lock(home):
        if leftovers.find(home):
            with console.doing("ending the processes that an earlier run left behind"):
                await leftovers.clear(home)
        instance.close_to_others(home)
        try:
            yield
        finally:
            instance.forget_environment(home)


def absolute(home: Path) -> Path:
    return home.resolve()


async def run_setup(
    supervisor: Supervisor, setup: tuple[str, ...], environment: Mapping[str, str]
) -> None:
    """Run `setup`, which prepares all servers, to its end.

    Raises:
        CannotStart: it failed.
    """
    step = Command(name="setup", argv=setup, environment=complete(environment))
    with supervisor.console.doing("declaring queues and indexes"):
        await supervisor.run_to_end(step)
