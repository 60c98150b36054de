"""Several of a process: how many, as `cartwheel up --replicas` is told, and how they get along."""

import itertools
import re
from collections.abc import Mapping, Sequence

import msgspec

from cartwheel.local.processes import GATEWAY, PROCESSES, SIMULATOR, Process, copies
from cartwheel.services import SERVICES

MOST_REPLICAS = 16
_MAY_BE_SEVERAL = (*SERVICES, GATEWAY)
_REPLICAS = re.compile(r"(?P<name>[^=]+)=(?P<count>[0-9]{1,9})")


class BadReplicas(ValueError):
    """What `--replicas` was given cannot be started; the message says why."""


def replicated(text: str) -> tuple[Process, ...]:
    """Return PROCESSES with as many of each as `text` says: `products=2,orders=3`.

    Raises:
        BadReplicas: it names no process, one twice, or no sensible number.
    """
    counts = _counts(text)
    for name in counts:
        if name == SIMULATOR:
            raise BadReplicas("there is one simulator: it keeps its charges in a file")
        if name not in _MAY_BE_SEVERAL:
            raise BadReplicas(f"there is no {name}; there are {', '.join(_MAY_BE_SEVERAL)}")
    return tuple(
        copy for process in PROCESSES for copy in copies(process, counts.get(process.name, 1))
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
    """Return `processes` as they run together on one machine.

    Several gateways share their port. With a HEALTH_PORT, the services listen on that one and those
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
