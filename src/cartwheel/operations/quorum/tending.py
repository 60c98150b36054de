"""Read, plan, change, read again. Repeatable, safe on a running system, and silent on one node.

If a step fails or is interrupted, the next run plans it again. That is harmless: RabbitMQ does not
add a member twice, nor fail to remove one that is gone.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress

import msgspec

from cartwheel.operations.quorum.access import Access, CannotDo, CannotLook
from cartwheel.operations.quorum.cluster import Cluster
from cartwheel.operations.quorum.planning import adds, drops, silent, spreads, troubles
from cartwheel.operations.quorum.steps import Command, Step, looking

SHOWS_WITHIN_SECONDS = 15.0
"""Seconds until a change is visible. RabbitMQ moves leaders in the background."""

_LOOK_EVERY_SECONDS = 0.5

Doing = Callable[[str], AbstractContextManager[object]]
_Stage = Callable[[Cluster], Sequence[Step]]


class Tended(msgspec.Struct, frozen=True, kw_only=True):
    """The result: lines for people, and the commands that they still have to run."""

    done: tuple[str, ...] = ()
    troubles: tuple[str, ...] = ()
    commands: tuple[Command, ...] = ()
    state: str = ""


async def tend(
    accesses: Sequence[Access],
    vhost: str,
    *,
    dry_run: bool = False,
    doing: Doing,
) -> Tended:
    """Give the queues of `vhost` their members, spread their leaders, and return what was done.

    The first of `accesses` that can read the cluster is used for that, and each step goes to the
    first that can do it. A dry run returns what would be done. `doing` shows a text during a step.
    """
    try:
        access, cluster = await _first_look(accesses)
    except CannotLook as error:
        return Tended(
            troubles=(f"RabbitMQ's nodes and members cannot be read: {error}",),
            commands=tuple(looking(vhost)),
        )
    if len(cluster.nodes) == 1:
        return Tended()
    if cluster.partitioned:
        return Tended(troubles=("RabbitMQ's nodes are partitioned: no member is changed",))
    if dry_run:
        steps = [step for stage in _STAGES for step in stage(cluster)]
        return Tended(
            done=tuple(f"would {step.told('to do')}" for step in steps),
            troubles=tuple(troubles(cluster)),
            state=_state(cluster),
        )
    work = _Work(accesses, vhost, doing)
    for stage in _STAGES:
        if steps := stage(cluster):
            for step in steps:
                await work.do(step, at=cluster.running[0])
            cluster = await _settled(access, stage, cluster, patient=not work.commands)
    return Tended(
        done=tuple(work.done),
        troubles=(*work.failed, *troubles(cluster)),
        commands=tuple(work.commands),
        state=_state(cluster),
    )


class _Work:
    """Does steps and records their results."""

    def __init__(self, accesses: Sequence[Access], vhost: str, doing: Doing) -> None:
        self._accesses = accesses
        self._vhost = vhost
        self._doing = doing
        self.done: list[str] = []
        self.failed: list[str] = []
        self.commands: list[Command] = []

    async def do(self, step: Step, *, at: str) -> None:
        """Do `step`, or record its commands for the operator.

        After a failed step, no further step is done: leaders cannot be spread over missing members.
        """
        try:
            if self.commands:
                raise CannotDo("the step before it failed")
            with self._doing(step.told("doing")):
                await self._by_the_first_that_can(step, at)
        except CannotDo as error:
            self.failed.append(f"could not {step.told('to do')}: {error}")
            self.commands += step.commands(self._vhost)
        else:
            self.done.append(step.told("done"))

    async def _by_the_first_that_can(self, step: Step, at: str) -> None:
        reasons: list[str] = []
        for access in self._accesses:
            try:
                return await access.do(step, at=at)
            except CannotDo as error:
                reasons.append(str(error))
        raise CannotDo("; ".join(reasons))


_STAGES: tuple[_Stage, ...] = (drops, adds, spreads)


async def _first_look(accesses: Sequence[Access]) -> tuple[Access, Cluster]:
    reasons: list[str] = []
    for access in accesses:
        try:
            return access, await access.look()
        except CannotLook as error:
            reasons.append(str(error))
    raise CannotLook("; ".join(reasons))


async def _settled(access: Access, stage: _Stage, cluster: Cluster, *, patient: bool) -> Cluster:
    """Read until `stage` has nothing to do and all members answer; only once if not `patient`."""
    end = time.monotonic() + (SHOWS_WITHIN_SECONDS if patient else 0.0)
    while True:
        await asyncio.sleep(_LOOK_EVERY_SECONDS)
        with suppress(CannotLook):
            cluster = await access.look()
        if time.monotonic() >= end or not (stage(cluster) or silent(cluster)):
            return cluster


def _state(cluster: Cluster) -> str:
    members = sorted({len(queue.members) for queue in cluster.queues})
    return (
        f"RabbitMQ: {len(cluster.running)} of {len(cluster.nodes)} nodes run; "
        f"{len(cluster.queues)} quorum queues with {' or '.join(map(str, members))} members; "
        f"leaders {', '.join(map(str, cluster.leaders.values()))}"
    )
