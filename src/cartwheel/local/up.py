"""Runs a whole instance, for `cartwheel up` and for tests.

async with running(home) as system:                                   # everything
async with running(home, processes=(), setup=()) as system:           # only the dependencies
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
from cartwheel.local.dependencies import side_by_side, start_dependencies
from cartwheel.local.given import check_servers, check_settings
from cartwheel.local.preflight import check_port
from cartwheel.local.processes import PROCESSES, SETUP, Process, command, complete, settings
from cartwheel.local.replicas import arranged
from cartwheel.local.supervisor import Supervisor, supervising


class System(msgspec.Struct, frozen=True):
    """A running instance: its variables, and its supervisor."""

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

    Without a `port`, the gateway gets a free one. Servers in `given` are used, not started. `setup`
    prepares all servers. Without it, the given servers are not even checked.

    Raises:
        instance.InUse: the instance is running already.
        instance.NotPrivate: something in `home` belongs to another user.
        BadSettings: a setting in `given` is malformed.
        PortUnusable: the gateway cannot listen on `port`.
        Unusable: a server in `given` cannot be used.
        packages.Missing: something has to be installed or set first.
        CannotStart: a dependency or a process does not start.
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
            provided = await start_dependencies(supervisor, given)
            environment = provided | settings(home, given, port)
            if setup:
                await run_setup(supervisor, setup, environment)
                # After the servers have answered, and before any real data is stored there.
                places.remember(home, places.given(given))
            await side_by_side(
                supervisor.run(command(process, environment))
                for process in arranged(processes, given)
            )
            instance.write_environment(home, environment)
            yield System(environment, supervisor)


@asynccontextmanager
async def held(home: Path, console: Console) -> AsyncGenerator[None]:
    """Lock the instance for as long as the body runs, after ending leftovers of an earlier run.

    Raises:
        instance.InUse: the instance is running already.
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
