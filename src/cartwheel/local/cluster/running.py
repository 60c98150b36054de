"""Runs the whole system as a cluster, for `cartwheel cluster up` and for tests.

async with cluster(home) as shop:                                # everything
async with cluster(home, processes=(), setup=()) as shop:        # the nodes and the AWS emulator
    shop.environment["MONGODB_URI"]
    await shop.faults.kill("rabbitmq.1")
    await shop.faults.heal("rabbitmq.1")
    await shop.healthy()
"""

import asyncio
import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from cartwheel.local import instance, mongod, packages, rabbitmq
from cartwheel.local.cluster import brokers, haproxy, members, replicas
from cartwheel.local.cluster.brokers import Brokers
from cartwheel.local.cluster.faults import Faults
from cartwheel.local.cluster.members import Members
from cartwheel.local.cluster.network import missing_packages, network
from cartwheel.local.cluster.waiting import until
from cartwheel.local.console import QUIET, Console
from cartwheel.local.dependencies import side_by_side, start_dependencies
from cartwheel.local.given import check_settings
from cartwheel.local.preflight import check_port
from cartwheel.local.processes import PROCESSES, SETUP, Process, settings
from cartwheel.local.supervisor import supervising
from cartwheel.local.up import System, absolute, held, run_setup

STOP_SECONDS = 25.0
"""The processes drain first. Then the three RabbitMQ nodes leave the cluster in turn."""


class ServerGiven(Exception):
    """The environment names a server, but the cluster has three of its own."""


class Cluster(msgspec.Struct, frozen=True):
    """A running cluster: its addresses, its nodes, and the faults that can be injected."""

    system: System
    brokers: Brokers
    members: Members
    faults: Faults

    @property
    def environment(self) -> dict[str, str]:
        return self.system.environment

    async def healthy(self, *, within_seconds: float = 60.0) -> None:
        """Return when RabbitMQ's nodes are one cluster and MongoDB's are one replica set.

        Raises:
            TimeoutError: they are not, `within_seconds`.
        """
        async with asyncio.timeout(within_seconds):
            await until(self.brokers.are_healthy)
            await until(self.members.are_healthy)


@asynccontextmanager
async def cluster(
    home: Path,
    *,
    port: int | None = None,
    given: Mapping[str, str] = os.environ,
    processes: tuple[Process, ...] = PROCESSES,
    replica_count: int = 2,
    setup: tuple[str, ...] = SETUP,
    console: Console = QUIET,
    apart: bool = True,
) -> AsyncGenerator[Cluster]:
    """Run the cluster in `home` for as long as the body runs.

    Without a `port`, HAProxy gets a free one. RabbitMQ and MongoDB are always the cluster's own. If
    possible, their nodes get a network in which they can be cut off, unless `apart` is false.

    Raises:
        ServerGiven: `given` names another server.
        instance.InUse: the cluster is running already.
        instance.NotPrivate: something in `home` belongs to another user.
        BadSettings: a setting in `given` is malformed.
        PortUnusable: HAProxy cannot listen on `port`.
        packages.Missing: something has to be installed or set first.
        CannotStart: a dependency or a process does not start.
        Unfit: the emulator's tokens do not verify.
    """
    home = absolute(home)
    _refuse_others(given)
    async with held(home, console):
        check_settings(given)
        if port is not None:
            check_port(port, given, home)
        await _install(console)
        names = (*brokers.NAMES, *members.NAMES)
        async with (
            network(home, names, console, wanted=apart) as laid,
            supervising(home, console, stop_seconds=STOP_SECONDS) as supervisor,
        ):
            three_brokers = brokers.choose(home, laid)
            three_members = members.choose(home, laid)
            parts: dict[str, str] = {}
            for provided in await side_by_side(
                [
                    brokers.start(supervisor, three_brokers),
                    members.start(supervisor, three_members),
                    # The nodes count as given, so this starts only the other dependencies.
                    start_dependencies(
                        supervisor, {**given, **three_brokers.variables, **three_members.variables}
                    ),
                ]
            ):
                parts |= provided
            environment = parts | settings(home, replicas.with_drain(given), port)
            if setup:
                await run_setup(supervisor, setup, environment)
            commands = replicas.commands(home, environment, processes, replica_count)
            await side_by_side(map(supervisor.run, commands))
            instance.write_environment(home, environment)
            yield Cluster(
                System(environment, supervisor),
                three_brokers,
                three_members,
                Faults(supervisor, laid, three_brokers),
            )


def _refuse_others(given: Mapping[str, str]) -> None:
    for name, value in given.items():
        if value and (name == "RABBITMQ_URL" or name.endswith("MONGODB_URI")):
            raise ServerGiven(f"{name} is set, and the cluster has servers of its own: unset it")


async def _install(console: Console) -> None:
    needed: dict[str, str] = {}
    for part in (mongod, rabbitmq, haproxy):
        needed |= await asyncio.to_thread(part.missing_packages)
    needed |= missing_packages()
    if needed:
        await asyncio.to_thread(packages.install, needed, console)
