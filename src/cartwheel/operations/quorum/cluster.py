"""The state of a cluster at one moment."""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import msgspec


class QuorumQueue(msgspec.Struct, frozen=True):
    """A quorum queue. `members` are the nodes with a replica; `online` ones answer."""

    name: str
    members: tuple[str, ...]
    online: tuple[str, ...]
    leader: str | None = None

    @property
    def has_majority(self) -> bool:
        return 2 * len(set(self.online) & set(self.members)) > len(self.members)


class Cluster(msgspec.Struct, frozen=True):
    """A cluster. `nodes` tells for each node whether it is running.

    `unlisted` queues do not exist or have no leader; `rabbitmqctl` does not list those.
    """

    nodes: Mapping[str, bool]
    queues: tuple[QuorumQueue, ...]
    unlisted: tuple[str, ...] = ()
    partitioned: bool = False

    @property
    def running(self) -> list[str]:
        return sorted(name for name, runs in self.nodes.items() if runs)

    @property
    def leaders(self) -> dict[str, int]:
        """Return the number of queues that each running node leads."""
        led = Counter(queue.leader for queue in self.queues)
        return {name: led[name] for name in self.running}

    @property
    def most_leaders(self) -> int:
        """Return the number of queues that one node may lead: its share and one more."""
        online = {node for queue in self.queues for node in queue.online}
        return math.ceil(len(self.queues) / max(len(online), 1)) + 1


class Listed(msgspec.Struct, frozen=True):
    """A queue as RabbitMQ lists it. Unknown values are missing or empty."""

    name: str
    members: Any = None
    online: Any = None
    leader: Any = None


def quorum_queues(listed: Iterable[Listed], ours: Collection[str]) -> tuple[QuorumQueue, ...]:
    """Return those of `ours` that have members, sorted by name."""
    return tuple(
        QuorumQueue(
            name=each.name,
            members=tuple(each.members),
            online=tuple(each.online or ()),
            leader=each.leader or None,
        )
        for each in sorted(listed, key=lambda each: each.name)
        if each.name in ours and each.members
    )


def unlisted(listed: Iterable[Listed], ours: Collection[str]) -> tuple[str, ...]:
    return tuple(sorted({*ours} - {each.name for each in listed}))
