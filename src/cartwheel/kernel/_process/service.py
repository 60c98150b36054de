"""A service is one declared value; `cartwheel.kernel` has an example.

Code for all services iterates over a list of these values: to create their queues and databases, to
start their processes, to verify their documents.
"""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Generic, ParamSpec, TypeVar

import msgspec

from cartwheel.kernel._bus.consuming import On, Probe
from cartwheel.kernel._bus.rpc_server import Answers
from cartwheel.kernel._core.messages import Event
from cartwheel.kernel._process import health, process
from cartwheel.kernel._process.process import Core, Job
from cartwheel.kernel._process.running import Stop, run
from cartwheel.kernel._store.migrations import Migration
from cartwheel.kernel.settings import ServiceSettings

Settings = TypeVar("Settings", bound=ServiceSettings)
Given = ParamSpec("Given")


class Collection(msgspec.Struct, frozen=True):
    """A collection in a service's database; `outbox` if its documents hold events to publish."""

    name: str
    outbox: bool = False


class Wiring(msgspec.Struct, frozen=True, kw_only=True):
    """What a service does: the requests it answers, the events it handles, the jobs it runs.

    During an outage, consumers ping the database and call `probe` to learn that all dependencies
    are back.
    """

    answers: Sequence[Answers] = ()
    on: Sequence[On] = ()
    jobs: Sequence[Job] = ()
    probe: Probe | None = None


class Service(msgspec.Struct, Generic[Settings], frozen=True, kw_only=True):
    """A service. Its database and its queues are named after it.

    `events` are those that it publishes. `wire` yields what the service does, built on its database
    and connections. What `wire` opens is closed after the service has finished.
    """

    name: str
    settings: type[Settings]
    events: Sequence[type[Event]] = ()
    collections: Sequence[Collection] = ()
    migrations: Sequence[Migration] = ()
    wire: Callable[[Settings, Core], AbstractAsyncContextManager[Wiring]]

    @property
    def outboxes(self) -> tuple[str, ...]:
        """The names of the collections with an outbox."""
        return tuple(each.name for each in self.collections if each.outbox)

    def run(self) -> None:
        """Run this process until SIGTERM or Ctrl-C, with settings from the environment."""
        run(self.name, self.settings, self.serve)

    async def serve(self, settings: Settings, stop: Stop) -> None:
        """Do the service's work until it is told to stop; then drain, and finish work in progress.

        Raises:
            CannotListen: the process cannot listen on HEALTH_PORT and HEALTH_HOST.
        """
        async with (
            process.core(self.name, settings, stop) as core,
            health.answering(settings, core),
            self.wire(settings, core) as wiring,
        ):
            await process.serve(
                core,
                migrations=self.migrations,
                answers=wiring.answers,
                on=wiring.on,
                publishes_from=self.outboxes,
                events=self.events,
                jobs=wiring.jobs,
                probe=wiring.probe,
                drain_seconds=settings.drain_seconds,
            )


def every(
    seconds: float,
    run: Callable[Given, Awaitable[object]],
    *args: Given.args,
    **given: Given.kwargs,
) -> Job:
    """Return a job that runs `run` again and again, with a pause of `seconds` in between.

        every(2.0, expire_orders, orders=orders)

    An error does not stop the job. An error that repeats is logged once.
    """
    return Job(partial(run, *args, **given), every=seconds)
