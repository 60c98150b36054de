"""Keeps processes running: starts them, waits until they are ready, starts again what dies.

async with supervising(home, console) as supervisor:
    await supervisor.run(Command(name="payments", argv=(...), environment={...}))
    await supervisor.kill("payments")     # kill -9: it is started again by itself
    await supervisor.ready("payments")
    await supervisor.kill_for_good("payments")    # stays away until
    await supervisor.start("payments")
    await supervisor.stop("payments")     # SIGTERM: the same
"""

import asyncio
import os
import shutil
import signal
import time
from asyncio.subprocess import Process
from collections.abc import AsyncGenerator, Awaitable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec

from cartwheel.kernel import backoff
from cartwheel.local import instance, leftovers, notify
from cartwheel.local.command import Command, end_of, how_it_ended, kill_session, spawn, tail
from cartwheel.local.console import Console

FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS = 0.5, 15.0
GOOD_RUN_SECONDS = 30.0
"""After that many seconds a process counts as well again, and its next restart is quick."""

STOP_BUDGET = 9.0
"""Everything has ended in so many seconds, not counting the drain; what has not is killed."""


class CannotStart(Exception):
    """A process ended or stayed silent instead of becoming ready; holds what it logged last."""


class _Kept:
    """What is known about one process that is kept running."""

    def __init__(self, command: Command) -> None:
        self.command = command
        self.process: Process | None = None
        self.ready = asyncio.Event()
        self.unwanted = asyncio.Event()
        self.keeper: asyncio.Task[None] | None = None
        self.next_time: Mapping[str, str] = {}


class Supervisor:
    """Made by `supervising`; every method names a process by its command's name."""

    def __init__(
        self, home: Path, sockets: Path, console: Console, *, stop_seconds: float = STOP_BUDGET
    ) -> None:
        self.home = home
        self.console = console
        self.sockets = sockets
        self._stop_seconds = stop_seconds
        self._kept: dict[str, _Kept] = {}
        self._begins: dict[str, int] = {}

    @property
    def names(self) -> list[str]:
        return list(self._kept)

    def log(self, name: str) -> Path:
        """Return the file that gets what the process writes."""
        return self.home / "logs" / f"{name}.log"

    def command(self, name: str) -> Command:
        """Return how the process is started."""
        return self._kept[name].command

    def pid(self, name: str) -> int:
        """Return the process id.

        Raises:
            ProcessLookupError: it does not run at the moment.
        """
        return self._process(name).pid

    def _process(self, name: str) -> Process:
        process = self._kept[name].process
        if process is None or process.returncode is not None:
            raise ProcessLookupError(f"{name} does not run")
        return process

    async def run(self, command: Command) -> None:
        """Take on a process, start it, and return when it is ready.

        Raises:
            CannotStart: it ended before it was ready, or took too long.
        """
        self._kept[command.name] = _Kept(command)
        with self.console.doing(f"starting {command.name}"):
            await self.start(command.name)

    async def start(self, name: str) -> None:
        """Start a process that was stopped on purpose; return when it is ready. Repeatable.

        Raises:
            CannotStart: it ended before it was ready, or took too long.
        """
        kept = self._kept[name]
        kept.unwanted.clear()
        if kept.keeper is None or kept.keeper.done():
            kept.keeper = asyncio.create_task(self._keep(kept), name=f"keep {name}")
        became_ready = asyncio.create_task(kept.ready.wait())
        try:
            await asyncio.wait(
                {kept.keeper, became_ready},
                timeout=kept.command.start_limit,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            became_ready.cancel()
        if kept.keeper.done():
            await kept.keeper
        if not kept.ready.is_set():
            await self.stop(name)
            raise self._cannot_start(name, f"was not ready in {kept.command.start_limit:g} s")

    async def run_to_end(self, command: Command) -> None:
        """Run something that ends by itself.

        Raises:
            CannotStart: it failed.
        """
        process = await self._spawn(command, self.sockets / "none")
        try:
            await process.wait()
        finally:
            kill_session(process)
            await process.wait()
        if process.returncode:
            raise self._cannot_start(command.name, how_it_ended(process))

    async def ready(self, *names: str) -> None:
        """Return when the named processes (all, if none is named) are ready."""
        for name in names or self.names:
            await self._kept[name].ready.wait()

    async def stop(self, *names: str, limit: float | None = None) -> None:
        """End the processes by SIGTERM, together; kill what has not ended within its limit.

        They stay away until `start`.
        """
        await asyncio.gather(*(self._end(self._kept[name], limit) for name in names))

    def next_time(self, name: str, environment: Mapping[str, str]) -> None:
        """Give the process `environment` as well the next time it is started, and only then."""
        self._kept[name].next_time = environment

    async def kill(self, name: str) -> None:
        """Kill -9 the process with its helpers; it will be started again by itself.

        Raises:
            ProcessLookupError: it does not run at the moment.
        """
        process = self._process(name)
        kill_session(process)
        await process.wait()
        self._kept[name].ready.clear()

    async def kill_for_good(self, name: str) -> None:
        """Kill -9 the process with its helpers; it stays away until `start`. Repeatable."""
        kept = self._kept[name]
        kept.unwanted.set()  # said first, so that nobody starts it in between
        if kept.process is not None:
            kill_session(kept.process)
            await kept.process.wait()
        await self._end(kept, None)

    def freeze(self, name: str) -> None:
        """Stop the process and its helpers by SIGSTOP: connections stay open, nothing is answered.

        Raises:
            ProcessLookupError: it does not run at the moment.
        """
        os.killpg(self._process(name).pid, signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        """Let a frozen process go on; one that runs is not disturbed.

        Raises:
            ProcessLookupError: it does not run at the moment.
        """
        os.killpg(self._process(name).pid, signal.SIGCONT)

    async def close(self) -> None:
        """Stop everything, users of a part before the part, within the budget."""
        drain = max((kept.command.drain_seconds for kept in self._kept.values()), default=0.0)
        deadline = time.monotonic() + self._stop_seconds + drain
        for layer in sorted({kept.command.layer for kept in self._kept.values()}, reverse=True):
            names = [name for name, kept in self._kept.items() if kept.command.layer == layer]
            await self.stop(*names, limit=max(0.5, deadline - time.monotonic()))

    def hurry(self) -> None:
        """Have what is ending now drain no longer."""
        for kept in self._kept.values():
            if not (kept.unwanted.is_set() and kept.command.drain_seconds):
                continue
            if kept.process is not None and kept.process.returncode is None:
                kept.process.terminate()

    async def _end(self, kept: _Kept, limit: float | None) -> None:
        kept.unwanted.set()
        if kept.keeper is None:
            return
        if kept.process is not None and kept.process.returncode is None:
            kept.process.terminate()
            with suppress(ProcessLookupError):  # it has ended already
                self.thaw(kept.command.name)  # a frozen process would not notice
        patience = kept.command.stop_limit + kept.command.drain_seconds
        if limit is not None:
            patience = min(patience, limit)
        ended, _ = await asyncio.wait({kept.keeper}, timeout=patience)
        if not ended and kept.process is not None:
            self.console.say(f"{kept.command.name} has not ended in {patience:.1f} s: killed")
            kill_session(kept.process)
        await asyncio.gather(kept.keeper, return_exceptions=True)
        kept.keeper = None

    async def _keep(self, kept: _Kept) -> None:
        """Run the process again and again until it is unwanted.

        Raises:
            CannotStart: it ended by itself before it was ever ready.
        """
        name = kept.command.name
        was_ready = await self._run_once(kept)
        if not was_ready and not kept.unwanted.is_set():
            raise self._cannot_start(name, how_it_ended(kept.process))
        failures = 1
        while not kept.unwanted.is_set():
            delay = backoff(failures, first=FIRST_DELAY_SECONDS, longest=LONGEST_DELAY_SECONDS)
            self.console.say(
                f"{name} {how_it_ended(kept.process)}; starting it again in {delay:g} s"
                f" (see {self.log(name)})"
            )
            with suppress(TimeoutError):
                await asyncio.wait_for(kept.unwanted.wait(), delay)
                return
            started = time.monotonic()
            try:
                await self._run_once(kept)
            except OSError as error:  # no memory left, say: it is tried again like the rest
                self.console.say(f"{name} could not be started: {error}")
            well = time.monotonic() - started >= GOOD_RUN_SECONDS
            failures = 1 if well else failures + 1

    async def _run_once(self, kept: _Kept) -> bool:
        """Run the process to its end; return whether it became ready."""
        name = kept.command.name
        socket = self.sockets / name
        extra, kept.next_time = kept.next_time, {}
        command = msgspec.structs.replace(
            kept.command, environment={**kept.command.environment, **extra}
        )
        with notify.listening(socket) as receiver:
            kept.process = await self._spawn(command, socket)
            if kept.unwanted.is_set():  # since before there was a process to stop
                kept.process.terminate()
            probe = kept.command.probe
            announce = asyncio.create_task(
                _announce(kept.ready, probe() if probe else notify.ready(receiver))
            )
            try:
                await kept.process.wait()
                return announce.done() and announce.exception() is None
            finally:
                announce.cancel()
                await asyncio.gather(announce, return_exceptions=True)
                kept.ready.clear()

    async def _spawn(self, command: Command, socket: Path) -> Process:
        log = self.log(command.name)
        self._begins[command.name] = end_of(log)
        return await spawn(command, home=self.home, log=log, socket=socket)

    def _cannot_start(self, name: str, why: str) -> CannotStart:
        log = self.log(name)
        said = tail(log, self._begins.get(name, 0))
        return CannotStart(f"{name} {why}; {log} says\n{said or '    nothing'}")


async def _announce(ready: asyncio.Event, signal: Awaitable[None]) -> None:
    await signal
    ready.set()


@asynccontextmanager
async def supervising(
    home: Path, console: Console, *, stop_seconds: float = STOP_BUDGET
) -> AsyncGenerator[Supervisor]:
    """Yield a supervisor for the instance at `home`; in the end nothing of it runs any more.

    What has not ended `stop_seconds` after it was asked to is killed.
    """
    instance.make_folder(instance.make_folder(home) / "logs")
    supervisor = Supervisor(home, notify.folder(home), console, stop_seconds=stop_seconds)
    try:
        yield supervisor
    finally:
        with console.doing("ending the processes"):
            await supervisor.close()
        # Those that make a session of their own: Erlang's epmd, and what crashed parts left.
        await leftovers.clear(home, grace=0)
        shutil.rmtree(supervisor.sockets, ignore_errors=True)
