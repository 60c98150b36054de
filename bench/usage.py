"""The CPU time and peak memory of each process of the system.

A process's helpers are counted with it (RabbitMQ's `beam.smp` runs below a shell script).
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress

import msgspec
import psutil

from cartwheel.local.supervisor import Supervisor
from cartwheel.services import SERVICES

OWN = ("gateway", *SERVICES)
PARTS = ("mongod", "rabbitmq", "simulator", "ministack")
_LOOK_EVERY = 0.5
"""Seconds between two readings of the memory."""

_PAUSE = 3.0
"""Seconds of idle time before the idle system's memory is read."""


class Used(msgspec.Struct, kw_only=True):
    """CPU-seconds and peak resident memory in MiB, by name.

    `others` is the CPU time of the rest of the machine: noise, and the load generator.
    """

    cpu: dict[str, float] = {}
    peak_mib: dict[str, float] = {}
    others: float = 0.0


class Memory(msgspec.Struct, frozen=True):
    """The memory of a process with its helpers, in MiB: resident, proportional and unshared."""

    rss: float
    pss: float
    uss: float


@asynccontextmanager
async def watching(supervisor: Supervisor) -> AsyncGenerator[Used]:
    """Yield a `Used` that is filled in when the body has ended."""
    processes = _processes(supervisor)
    used = Used()
    before, machine_before = _cpu(processes), _busy()
    looking = asyncio.create_task(_look(processes, used))
    try:
        yield used
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
    after, machine_after = _cpu(processes), _busy()
    used.cpu = {name: after[name] - before[name] for name in after}
    used.others = max(0.0, machine_after - machine_before - sum(used.cpu.values()))


def cpu(supervisor: Supervisor) -> dict[str, float]:
    """Return the CPU-seconds of each process with its helpers so far."""
    return _cpu(_processes(supervisor))


def memory(supervisor: Supervisor) -> dict[str, Memory]:
    """Return each process's current memory."""
    found: dict[str, Memory] = {}
    for name, processes in _processes(supervisor).items():
        infos = [process.memory_full_info() for process in processes]
        found[name] = Memory(
            *(round(sum(getattr(info, kind) for info in infos) / 2**20, 1) for kind in _KINDS)
        )
    return found


async def memory_at_rest(supervisor: Supervisor) -> dict[str, Memory]:
    """Return each process's memory after the system has been idle for a moment."""
    await asyncio.sleep(_PAUSE)
    return memory(supervisor)


_KINDS = ("rss", "pss", "uss")


def _processes(supervisor: Supervisor) -> dict[str, list[psutil.Process]]:
    """Return each process with its helpers. Replicas (`orders.2`) count with the first."""
    found: defaultdict[str, list[psutil.Process]] = defaultdict(list)
    for name in supervisor.names:
        top = psutil.Process(supervisor.pid(name))
        found[name.partition(".")[0]] += [top, *top.children(recursive=True)]
    return found


def _cpu(processes: Mapping[str, list[psutil.Process]]) -> dict[str, float]:
    totals: dict[str, float] = {}
    for name, each in processes.items():
        totals[name] = 0.0
        for process in each:
            with suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                totals[name] += times.user + times.system
    return totals


def _busy() -> float:
    """Return the CPU-seconds of the whole machine so far."""
    times = psutil.cpu_times()._asdict()
    return sum(times[kind] for kind in ("user", "nice", "system", "irq", "softirq"))


async def _look(processes: Mapping[str, list[psutil.Process]], used: Used) -> None:
    while True:
        for name, each in processes.items():
            resident = 0
            for process in each:
                with suppress(psutil.NoSuchProcess):
                    resident += process.memory_info().rss
            used.peak_mib[name] = max(used.peak_mib.get(name, 0.0), round(resident / 2**20, 1))
        await asyncio.sleep(_LOOK_EVERY)
