"""A service is one declared value; `cartwheel.kernel` has an example. Whatever has to do with all
services goes through a list of them: their queues and databases are made, their processes started,
their documents checked.
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
    """A collection of a service's database; `outbox` if its documents hold events to publish."""

    name: str
    outbox: bool = False


class Wiring(msgspec.Struct, frozen=True, kw_only=True):
    """What a service does: requests it answers, events it handles, jobs it does by itself.

    `probe` (beside the database's) tells consumers that a dependency outside is back.
    """

    answers: Sequence[Answers] = ()
    on: Sequence[On] = ()
    jobs: Sequence[Job] = ()
    probe: Probe | None = None


class Service(msgspec.Struct, Generic[Settings], frozen=True, kw_only=True):
    """A service: its name, which its database and its queues bear, and all that belongs to it.

    `events` are those that it publishes. `wire` returns what it does, built on its own database and
    its connections; what `wire` opens is closed when the service has finished.
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
        """Do the service's work until it is to stop, drain, and finish what is in hand.

        Raises:
            CannotListen: HEALTH_PORT or HEALTH_HOST cannot be listened on.
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
    """Return the job to run `run` again and again, `seconds` after it has ended.

        every(2.0, expire_orders, orders=orders)

    An error is logged when it first comes, and the next run is as if it had not been.
    """
    return Job(partial(run, *args, **given), every=seconds)
