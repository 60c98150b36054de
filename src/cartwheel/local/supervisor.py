"""Keeps processes running: starts them, waits until they are ready, restarts them when they die.

async with supervising(home, console) as supervisor:
    await supervisor.run(Command(name="payments", argv=(...), environment={...}))
    await supervisor.kill("payments")     # kill -9: the supervisor restarts it
    await supervisor.ready("payments")
    await supervisor.kill_for_good("payments")    # it stays down until the next line
    await supervisor.start("payments")
    await supervisor.stop("payments")     # SIGTERM: it stays down, too
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
"""A process that has run this long counts as healthy: its next restart is quick again."""

STOP_BUDGET = 9.0
"""Seconds, after the drain, in which everything must end. What has not ended is killed."""


class CannotStart(Exception):
    """A process ended, or was not ready in time. The message has the end of its log."""


class _Kept:
    """The state of one process that is kept running."""

    def __init__(self, command: Command) -> None:
        self.command = command
        self.process: Process | None = None
        self.ready = asyncio.Event()
        self.unwanted = asyncio.Event()
        self.keeper: asyncio.Task[None] | None = None
        self.next_time: Mapping[str, str] = {}


class Supervisor:
    """Made by `supervising`. A process's name is the name of its command."""

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
        """Return the file with the process's output."""
        return self.home / "logs" / f"{name}.log"

    def command(self, name: str) -> Command:
        """Return the command that starts the process."""
        return self._kept[name].command

    def pid(self, name: str) -> int:
        """Return the process id.

        Raises:
            ProcessLookupError: the process is not running at the moment.
        """
        return self._process(name).pid

    def _process(self, name: str) -> Process:
        process = self._kept[name].process
        if process is None or process.returncode is not None:
            raise ProcessLookupError(f"{name} does not run")
        return process

    async def run(self, command: Command) -> None:
        """Add a process, start it, and return when it is ready.

        Raises:
            CannotStart: it ended before it was ready, or took too long.
        """
        self._kept[command.name] = _Kept(command)
        with self.console.doing(f"starting {command.name}"):
            await self.start(command.name)

    async def start(self, name: str) -> None:
        """Start a process that was deliberately stopped; return when it is ready. Repeatable.

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
        """Run a process that ends by itself.

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
        """Return when the named processes are ready; without names, when all are."""
        for name in names or self.names:
            await self._kept[name].ready.wait()

    async def stop(self, *names: str, limit: float | None = None) -> None:
        """End the processes together with SIGTERM; kill those that exceed their limit.

        They stay down until `start`.
        """
        await asyncio.gather(*(self._end(self._kept[name], limit) for name in names))

    def next_time(self, name: str, environment: Mapping[str, str]) -> None:
        """Add `environment` to the process's variables for its next start only."""
        self._kept[name].next_time = environment

    async def kill(self, name: str) -> None:
        """Kill -9 the process and its helpers. The supervisor then restarts it.

        Raises:
            ProcessLookupError: the process is not running at the moment.
        """
        process = self._process(name)
        kill_session(process)
        await process.wait()
        self._kept[name].ready.clear()

    async def kill_for_good(self, name: str) -> None:
        """Kill -9 the process and its helpers. It stays down until `start`. Repeatable."""
        kept = self._kept[name]
        kept.unwanted.set()  # before the kill, so that it is not restarted in between
        if kept.process is not None:
            kill_session(kept.process)
            await kept.process.wait()
        await self._end(kept, None)

    def freeze(self, name: str) -> None:
        """Freeze the process and its helpers with SIGSTOP: connections stay open, without answers.

        Raises:
            ProcessLookupError: the process is not running at the moment.
        """
        os.killpg(self._process(name).pid, signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        """Let a frozen process continue. A running one is not affected.

        Raises:
            ProcessLookupError: the process is not running at the moment.
        """
        os.killpg(self._process(name).pid, signal.SIGCONT)

    async def close(self) -> None:
        """Stop everything within the budget, each process before its dependencies."""
        drain = max((kept.command.drain_seconds for kept in self._kept.values()), default=0.0)
        deadline = time.monotonic() + self._stop_seconds + drain
        for layer in sorted({kept.command.layer for kept in self._kept.values()}, reverse=True):
            names = [name for name, kept in self._kept.items() if kept.command.layer == layer]
            await self.stop(*names, limit=max(0.5, deadline - time.monotonic()))

    def hurry(self) -> None:
        """End the drain of the processes that are stopping."""
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
            with suppress(ProcessLookupError):  # the process has ended already
                self.thaw(kept.command.name)  # a frozen process does not handle signals
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
        """Run the process, and restart it until it is unwanted.

        Raises:
            CannotStart: it ended before it was ready for the first time.
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
            except OSError as error:  # no memory, say: try again, as after any other failure
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
            if kept.unwanted.is_set():  # stopped before the process existed
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
    """Yield a supervisor for the instance at `home`. At the end, no process of it is left.

    Processes that have not ended within `stop_seconds` are killed.
    """
    instance.make_folder(instance.make_folder(home) / "logs")
    supervisor = Supervisor(home, notify.folder(home), console, stop_seconds=stop_seconds)
    try:
        yield supervisor
    finally:
        with console.doing("ending the processes"):
            await supervisor.close()
        # Those with a session of their own: Erlang's epmd, and leftovers of crashed dependencies.
        await leftovers.clear(home, grace=0)
        shutil.rmtree(supervisor.sockets, ignore_errors=True)
