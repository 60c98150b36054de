"""Faults that are injected into running processes, and healed.

| fault     | injected by                       | healed by                                     |
|-----------|-----------------------------------|-----------------------------------------------|
| kill      | SIGKILL                           | starting the process                          |
| stop      | SIGSTOP                           | SIGCONT                                       |
| partition | pulling the node's cable          | plugging it in                                |
| restart   | SIGTERM, then starting            | nothing to heal                               |
|           | the process again                 |                                               |
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from enum import StrEnum

from cartwheel.local.cluster.brokers import FINDS_BACK_SECONDS, Brokers
from cartwheel.local.cluster.network import CannotCutOff, Network
from cartwheel.local.supervisor import Supervisor


class State(StrEnum):
    RUNNING = "running"
    KILLED = "killed"
    STOPPED = "stopped"
    CUT_OFF = "cut off"


class Refused(Exception):
    """The fault is not possible, and nothing was done. The message says why."""


class NoSuchProcess(Refused):
    """No process has this name. The message lists the names."""


class Faults:
    """Injects faults into the processes of `supervisor`, and keeps their states.

    Each method returns when it is done, and may be canceled and repeated. An unknown name, a second
    fault in the same process, and healing a process without a fault are Refused.
    """

    def __init__(
        self, supervisor: Supervisor, network: Network, brokers: Brokers | None = None
    ) -> None:
        self._supervisor = supervisor
        self._network = network
        self._brokers = brokers
        self._states: dict[str, State] = {}
        self._busy: set[str] = set()

    def state(self, name: str) -> State:
        return self._states.get(name, State.RUNNING)

    @property
    def broken(self) -> list[str]:
        """Return the processes that can be healed."""
        return list(self._states)

    async def kill(self, name: str) -> None:
        """Kill -9 the process and its helpers. It stays down until it is healed."""
        async with self._changing(name, State.RUNNING):
            self._states[name] = State.KILLED
            await self._supervisor.kill_for_good(name)

    async def stop(self, name: str) -> None:
        """Freeze the process: its connections stay open, but it does not answer."""
        async with self._changing(name, State.RUNNING):
            try:
                self._supervisor.freeze(name)
            except ProcessLookupError as error:
                raise Refused(f"{error} at the moment; it is being started again") from None
            self._states[name] = State.STOPPED

    async def partition(self, name: str) -> None:
        """Cut the node off from the other nodes and from its clients."""
        async with self._changing(name, State.RUNNING):
            if name not in self._network.hosts:
                nodes = ", ".join(self._network.hosts)
                raise Refused(f"{name} has no network of its own; these have: {nodes}")
            try:
                await self._network.cut_off(name)
            except CannotCutOff as error:
                raise Refused(str(error)) from None
            self._states[name] = State.CUT_OFF

    async def heal(self, name: str) -> None:
        """Heal the process; return when it is up, which may be before it has caught up.

        A RabbitMQ node that does not rejoin its cluster is restarted, and so is one that waited for
        this node and does not continue.

        Raises:
            CannotStart: the process does not start, and stays down.
        """
        async with self._changing(name, State.KILLED, State.STOPPED, State.CUT_OFF):
            match self.state(name):
                case State.KILLED:
                    await self._start(name)
                case State.STOPPED:
                    self._supervisor.thaw(name)
                    await self._find_back(name)
                case _:
                    await self._network.connect(name)
                    await self._find_back(name)
            del self._states[name]

    async def _start(self, name: str) -> None:
        """Start the process. A RabbitMQ node that has paused meanwhile may need help.

        Without a majority, a node pauses. It continues when it sees a majority again, unless it
        asks a node that is not up far enough. RabbitMQ 3.10 then gives up for good, and the nodes
        that start may wait for it.
        """
        starting = asyncio.create_task(self._supervisor.start(name))
        try:
            await asyncio.wait([starting], timeout=FINDS_BACK_SECONDS)
            if self._brokers and name in self._brokers.nodes:
                await self._restart_paused(self._brokers)
            await starting
        finally:
            starting.cancel()
            await asyncio.wait([starting])

    async def _restart_paused(self, brokers: Brokers) -> None:
        well = [name for name in brokers.nodes if self.state(name) is State.RUNNING]
        for name in [name for name in well if await brokers.stays_paused(name)]:
            self._supervisor.console.say(f"{name} does not end its pause: restarting it")
            with suppress(Refused):  # another node that is being healed restarts it
                await self.restart(name)

    async def _find_back(self, name: str) -> None:
        if self._brokers is None or name not in self._brokers.nodes:
            return
        well = [each for each in self._brokers.nodes if self.state(each) is State.RUNNING]
        if not await self._brokers.finds_back(name, well):
            self._supervisor.console.say(f"{name} is left out of its cluster: restarting it")
            await self._restart(name)

    async def _restart(self, name: str) -> None:
        self._states[name] = State.KILLED  # until it is up: a failed start can then be healed
        await self._supervisor.stop(name)
        await self._supervisor.start(name)

    async def restart(self, name: str) -> None:
        """End the process with SIGTERM, wait for it, and start it; return when it is ready.

        Raises:
            CannotStart: it does not start. It then counts as killed, so that it can be healed.
        """
        async with self._changing(name, State.RUNNING):
            await self._restart(name)
            del self._states[name]

    def check(self, names: Sequence[str]) -> None:
        """Check that all names exist.

        Raises:
            NoSuchProcess: no process has one of the names.
        """
        for name in names:
            if name not in self._supervisor.names:
                known = ", ".join(sorted(self._supervisor.names))
                raise NoSuchProcess(f"There is no {name}; there are {known}")

    @asynccontextmanager
    async def _changing(self, name: str, *wanted: State) -> AsyncGenerator[None]:
        self.check([name])
        if name in self._busy:
            raise Refused(f"{name} is being changed by another command; wait for it")
        if (state := self.state(name)) not in wanted:
            hint = "" if state is State.RUNNING else "; heal it first"
            raise Refused(f"{name} is {state}{hint}")
        self._busy.add(name)
        try:
            yield
        finally:
            self._busy.discard(name)
