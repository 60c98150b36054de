"""Faults of a MongoDB replica set with three members."""

import asyncio

from ..replica_set import ReplicaSet
from .faults import Fault
from .rig import Rig


def _of(rig: Rig) -> ReplicaSet:
    assert rig.members is not None, "the round has a single mongod"
    return rig.members


def kill_primary(seconds: float) -> Fault:
    async def run(rig: Rig) -> None:
        members = _of(rig)
        primary = await members.primary()
        await members.kill(primary)
        await asyncio.sleep(seconds)
        await members.start(primary)

    return Fault(f"kill -9 the primary, back after {seconds:.1f} s", run)


def roll_back(alone: float) -> Fault:
    """Kill both secondaries, and the primary after `alone` seconds.

    The writes that only the primary had are rolled back when it rejoins the others.
    """

    async def run(rig: Rig) -> None:
        members = _of(rig)
        primary, others = await members.primary(), await members.secondaries()
        await members.kill(*others)
        await asyncio.sleep(alone)
        await members.kill(primary)
        await members.start(*others)
        await members.primary()
        await members.start(primary)
        await members.healthy()

    return Fault(f"kill -9 both secondaries, {alone:.1f} s later the primary; heal", run)


def lose_a_secondary(seconds: float) -> Fault:
    async def run(rig: Rig) -> None:
        members = _of(rig)
        lost = (await members.secondaries())[0]
        await members.kill(lost)
        await asyncio.sleep(seconds)
        await members.start(lost)

    return Fault(f"kill -9 a secondary, back after {seconds:.1f} s", run)


def step_down(seconds: int) -> Fault:
    async def run(rig: Rig) -> None:
        await _of(rig).step_down(seconds=seconds)

    return Fault(f"the primary steps down for {seconds} s", run)


def stop_primary(seconds: float) -> Fault:
    """SIGSTOP: the others elect a new primary, and the old one notices when it continues."""

    async def run(rig: Rig) -> None:
        members = _of(rig)
        primary = await members.primary()
        members.freeze(primary)
        try:
            await asyncio.sleep(seconds)
        finally:
            members.thaw(primary)
        await members.healthy()

    return Fault(f"SIGSTOP the primary for {seconds:.1f} s", run)
