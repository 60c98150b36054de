"""Replicas: how many of each process `cartwheel up --replicas` starts, and their ports."""

import itertools
import re
from collections.abc import Mapping, Sequence

import msgspec

from cartwheel.local.processes import GATEWAY, PROCESSES, SIMULATOR, Process, replicas
from cartwheel.services import SERVICES

MOST_REPLICAS = 16
_MAY_BE_SEVERAL = (*SERVICES, GATEWAY)
_REPLICAS = re.compile(r"(?P<name>[^=]+)=(?P<count>[0-9]{1,9})")


class BadReplicas(ValueError):
    """The value of `--replicas` is not valid. The message says why."""


def replicated(text: str) -> tuple[Process, ...]:
    """Return PROCESSES with as many replicas as `text` says: `products=2,orders=3`.

    Raises:
        BadReplicas: a name is unknown or given twice, or a number is out of range.
    """
    counts = _counts(text)
    for name in counts:
        if name == SIMULATOR:
            raise BadReplicas("there is one simulator: it keeps its charges in a file")
        if name not in _MAY_BE_SEVERAL:
            raise BadReplicas(f"there is no {name}; there are {', '.join(_MAY_BE_SEVERAL)}")
    return tuple(
        replica
        for process in PROCESSES
        for replica in replicas(process, counts.get(process.name, 1))
    )


def _counts(text: str) -> dict[str, int]:
    counts: dict[str, int] = {}
    for part in filter(None, text.replace(" ", "").split(",")):
        read = _REPLICAS.fullmatch(part)
        if read is None:
            raise BadReplicas(f"{part} should be a name and a number, such as orders=2")
        name, count = read["name"], int(read["count"])
        if name in counts:
            raise BadReplicas(f"{name} is given twice")
        if not 1 <= count <= MOST_REPLICAS:
            raise BadReplicas(f"{name} is {count}, and should be from 1 to {MOST_REPLICAS}")
        counts[name] = count
    return counts


def arranged(processes: Sequence[Process], given: Mapping[str, str]) -> tuple[Process, ...]:
    """Return `processes` with the settings that they need to run on one machine.

    Several gateways share a port. With a HEALTH_PORT, the services listen on that port and the ones
    after it, in order.
    """
    kinds = [each.name.partition(".")[0] for each in processes]
    health_ports = itertools.count(int(given.get("HEALTH_PORT") or 0))
    found: list[Process] = []
    for process, kind in zip(processes, kinds, strict=True):
        own = dict(process.own)
        if kind in SERVICES and given.get("HEALTH_PORT"):
            own["HEALTH_PORT"] = str(next(health_ports))
        if kind == GATEWAY and kinds.count(GATEWAY) > 1:
            own["SHARE_PORT"] = "true"
        found.append(msgspec.structs.replace(process, own=own))
    return tuple(found)
