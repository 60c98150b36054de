"""A cluster as it was seen at one moment."""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import msgspec


class QuorumQueue(msgspec.Struct, frozen=True):
    """Members are the nodes that hold a copy; `online` are those whose copy answers."""

    name: str
    members: tuple[str, ...]
    online: tuple[str, ...]
    leader: str | None = None

    @property
    def has_majority(self) -> bool:
        return 2 * len(set(self.online) & set(self.members)) > len(self.members)


class Cluster(msgspec.Struct, frozen=True):
    """`nodes` says of each node of the cluster whether it runs.

    `unlisted` queues are not there or, as `rabbitmqctl` does not list those, have no leader.
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
        """How many queues each running node leads."""
        led = Counter(queue.leader for queue in self.queues)
        return {name: led[name] for name in self.running}

    @property
    def most_leaders(self) -> int:
        """How many queues one node may lead: its share and one more."""
        online = {node for queue in self.queues for node in queue.online}
        return math.ceil(len(self.queues) / max(len(online), 1)) + 1


class Listed(msgspec.Struct, frozen=True):
    """A queue as RabbitMQ lists it: what is not known is missing, or an empty text."""

    name: str
    members: Any = None
    online: Any = None
    leader: Any = None


def quorum_queues(listed: Iterable[Listed], ours: Collection[str]) -> tuple[QuorumQueue, ...]:
    """Return those of `ours` that have members, by name."""
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
