"""A real replica set of three members, which can be killed, stopped, frozen and started by name.

async with replica_set(home) as members:
    async with running(elsewhere, given={"MONGODB_URI": members.uri}) as system:
        old = await members.primary()
        await members.kill(old)              # kill -9: it stays down until the next line
        await members.start(old)
        await members.healthy()
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from pymongo import AsyncMongoClient

from cartwheel.local import instance, mongod
from cartwheel.local import replica_set as members_of
from cartwheel.local.command import Command
from cartwheel.local.console import QUIET
from cartwheel.local.supervisor import Supervisor, supervising

from .waiting import eventually

NAMES = ("mongod-1", "mongod-2", "mongod-3")


class ReplicaSet:
    """A replica set, made by `replica_set`. `uri` names all members."""

    def __init__(self, supervisor: Supervisor, ports: Mapping[str, int]) -> None:
        self._supervisor = supervisor
        self._addresses = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
        self.addresses = list(self._addresses.values())
        self.uri = mongod.uri(*self.addresses)

    async def kill(self, *names: str) -> None:
        """Kill -9 the members. They stay down until `start`."""
        await asyncio.gather(*map(self._supervisor.kill_for_good, names))

    async def stop(self, *names: str) -> None:
        """End the members with SIGTERM. They stay down until `start`."""
        await self._supervisor.stop(*names)

    async def start(self, *names: str) -> None:
        """Start members that are down; return when they answer, perhaps before an election."""
        await asyncio.gather(*(self._supervisor.start(name) for name in names))

    def freeze(self, *names: str) -> None:
        """Freeze the members with SIGSTOP: connections stay open, but nothing is answered."""
        for name in names:
            with suppress(ProcessLookupError):
                self._supervisor.freeze(name)

    def thaw(self, *names: str) -> None:
        for name in names:
            with suppress(ProcessLookupError):
                self._supervisor.thaw(name)

    async def step_down(self, *, seconds: int = 10) -> None:
        """Make the primary step down. It cannot be elected again for `seconds`."""
        async with self.client(await self.primary()) as client:
            await client.admin.command(
                "replSetStepDown", seconds, secondaryCatchUpPeriodSecs=seconds - 1
            )

    async def primary(self, *, within: float = 60.0) -> str:
        """Return the name of the member that accepts writes, when there is exactly one."""

        async def look() -> str:
            found = [name for name, state in (await self.states()).items() if state == "PRIMARY"]
            assert len(found) == 1, found
            return found[0]

        return await eventually(look, within=within)

    async def secondaries(self, *, within: float = 60.0) -> list[str]:
        """Return the names of the secondaries, when there is a primary."""
        primary = await self.primary(within=within)
        return [name for name in NAMES if name != primary]

    async def last_in_chain(self) -> str:
        """Return the name of a secondary that is no other member's sync source."""
        sources: set[str] = set()
        for name in NAMES:
            async with self.client(name) as client:
                status = await client.admin.command("replSetGetStatus")
            sources.add(status.get("syncSourceHost", ""))
        secondaries = await self.secondaries()
        return next(name for name in secondaries if self._addresses[name] not in sources)

    async def healthy(self, *, within: float = 60.0) -> None:
        """Return when all members are up and one of them is the primary."""

        async def look() -> None:
            assert members_of.are_healthy(list((await self.states()).values()))

        await eventually(look, within=within)

    async def states(self) -> dict[str, str]:
        """Return each member's state; DOWN if it does not answer."""
        said = await members_of.states(self.addresses)
        return dict(zip(NAMES, said, strict=True))

    def client(self, name: str) -> AsyncMongoClient[members_of.Document]:
        """Return a client of this member only, for use in a `with`."""
        return members_of.client(self._addresses[name])

    @asynccontextmanager
    async def failing(
        self, *commands: str, times: int | None = None, process: str = "tests", **failure: object
    ) -> AsyncGenerator[None]:
        """Fail `commands` of `process` while the body runs: all, or the next `times` of them.

        `failure` is the rest of the fail point's data, such as `errorCode` (the command is not run)
        or `writeConcernError` (it is run).
        Source: https://github.com/mongodb/mongo/wiki/The-%22failCommand%22-fail-point
        """
        data = {"failCommands": commands, "appName": f"cartwheel-{process}", **failure}
        mode = "alwaysOn" if times is None else {"times": times}
        await self._set_fail_point(await self.primary(), "failCommand", mode, data)
        try:
            yield
        finally:
            await self._set_fail_point(await self.primary(), "failCommand", "off")

    @asynccontextmanager
    async def copying_nothing(self, name: str) -> AsyncGenerator[None]:
        """While the body runs, the secondary `name` votes, but replicates nothing."""
        await self._set_fail_point(name, "stopReplProducer", "alwaysOn")
        try:
            yield
        finally:
            await self._set_fail_point(name, "stopReplProducer", "off")

    async def _set_fail_point(
        self, member: str, name: str, mode: object, data: Mapping[str, object] | None = None
    ) -> None:
        async with self.client(member) as client:
            await client.admin.command(
                {"configureFailPoint": name, "mode": mode, "data": data or {}}
            )


@asynccontextmanager
async def replica_set(home: Path) -> AsyncGenerator[ReplicaSet]:
    """Yield a healthy replica set with its data in `home`, and kill it at the end."""
    ports = _choose_ports(home)
    async with supervising(home, QUIET) as supervisor:
        members = ReplicaSet(supervisor, ports)
        try:
            await asyncio.gather(
                *(supervisor.run(_member(home, name, port)) for name, port in ports.items())
            )
            await members_of.form(members.addresses)
            await members.healthy()
            yield members
        finally:
            await members.kill(*supervisor.names)


def _choose_ports(home: Path) -> dict[str, int]:
    home.mkdir(parents=True, exist_ok=True)
    return {name: instance.port(home, name) for name in NAMES}


def _member(home: Path, name: str, port: int) -> Command:
    return mongod.member(
        name,
        home,
        port,
        probe=lambda: members_of.answers(f"127.0.0.1:{port}"),
        parameters=["enableTestCommands=1"],  # for `failing`
    )
