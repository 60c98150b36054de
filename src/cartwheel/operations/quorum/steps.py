"""The possible changes to quorum queues, in words and as exact commands of RabbitMQ's tools."""

import re
from collections.abc import Sequence
from typing import Literal

import msgspec

Command = tuple[str, ...]
Tense = Literal["to do", "doing", "done"]

_NAMED = 3
"""How many queues a line names."""


class Drop(msgspec.Struct, frozen=True):
    """Remove the members on `node`, which the cluster has forgotten, from `queues`."""

    node: str
    queues: tuple[str, ...]

    def told(self, tense: Tense) -> str:
        verb = {"to do": "drop", "doing": "dropping", "done": "dropped"}[tense]
        return f"{verb} the member on {self.node}, a forgotten node, from {which(self.queues)}"

    def commands(self, vhost: str) -> list[Command]:
        return [
            ("rabbitmq-queues", "delete_member", "--vhost", vhost, queue, self.node)
            for queue in self.queues
        ]


class Add(msgspec.Struct, frozen=True):
    """Give `queues` a member on `node`."""

    node: str
    queues: tuple[str, ...]

    def told(self, tense: Tense) -> str:
        verb = {"to do": "add", "doing": "adding", "done": "added"}[tense]
        return f"{verb} a member on {self.node} to {which(self.queues)}"

    def commands(self, vhost: str) -> list[Command]:
        return [("rabbitmq-queues", "grow", self.node, "all", *_matching(vhost, self.queues))]


class Spread(msgspec.Struct, frozen=True):
    """Spread the leaders of `queues`; so far `node` leads `led` of them."""

    node: str
    led: int
    queues: tuple[str, ...]

    def told(self, tense: Tense) -> str:
        verb = {"to do": "spread", "doing": "spreading", "done": "spread"}[tense]
        has = "had" if tense == "done" else "has"
        return f"{verb} the leaders: {self.node} {has} {self.led} of {len(self.queues)}"

    def commands(self, vhost: str) -> list[Command]:
        return [("rabbitmq-queues", "rebalance", "quorum", *_matching(vhost, self.queues))]


Step = Drop | Add | Spread


def looking(vhost: str) -> list[Command]:
    """Return the commands that show a cluster's state."""
    columns = ("name", "members", "online", "leader")
    return [
        ("rabbitmqctl", "cluster_status"),
        ("rabbitmqctl", "list_queues", "--vhost", vhost, *columns),
    ]


def which(queues: Sequence[str]) -> str:
    """Return `queues` in words. If there are many, only the first ones are named."""
    if len(queues) <= _NAMED:
        return ", ".join(queues)
    return f"{len(queues)} queues ({', '.join(queues[:_NAMED])}, …)"


def _matching(vhost: str, queues: tuple[str, ...]) -> Command:
    names = "|".join(re.escape(queue) for queue in queues)
    return ("--vhost-pattern", f"^{re.escape(vhost)}$", "--queue-pattern", f"^({names})$")
