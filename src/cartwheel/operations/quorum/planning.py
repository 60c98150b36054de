"""What to change about a cluster's queues, and what only its operator can fix."""

from collections import Counter, defaultdict
from collections.abc import Iterable

from cartwheel.operations.quorum.cluster import Cluster, QuorumQueue
from cartwheel.operations.quorum.steps import Add, Drop, Spread, which

MEMBERS = 3
"""The members of a queue in a cluster of at least three nodes: the queue survives losing one."""


def wanted_members(cluster: Cluster) -> int:
    return min(MEMBERS, len(cluster.nodes))


def drops(cluster: Cluster) -> list[Drop]:
    """Return the members to remove: one on a forgotten node counts toward the majority forever."""
    found = (
        (node, queue.name)
        for queue in _changeable(cluster)
        for node in queue.members
        if node not in cluster.nodes
    )
    return [Drop(node, queues) for node, queues in _by_node(found)]


def adds(cluster: Cluster) -> list[Add]:
    """Return the members to add, each on the running node with the fewest members so far."""
    held = Counter(node for queue in cluster.queues for node in queue.members)
    found: list[tuple[str, str]] = []
    for queue in _changeable(cluster):
        kept = [node for node in queue.members if node in cluster.nodes]
        free = sorted(set(cluster.running) - set(kept), key=lambda node: (held[node], node))
        for node in free[: max(wanted_members(cluster) - len(kept), 0)]:
            held[node] += 1
            found.append((node, queue.name))
    return [Add(node, queues) for node, queues in _by_node(found)]


def spreads(cluster: Cluster) -> list[Spread]:
    """Return how to spread the leaders, if one node has too many."""
    node, led = max(cluster.leaders.items(), key=lambda each: each[1], default=("", 0))
    if led <= cluster.most_leaders:
        return []
    return [Spread(node, led, tuple(queue.name for queue in cluster.queues))]


def silent(cluster: Cluster) -> list[tuple[str, tuple[str, ...]]]:
    """Return, by node, the members that do not answer although their node is running."""
    return _by_node(
        (node, queue.name)
        for queue in cluster.queues
        for node in queue.members
        if node in cluster.running and node not in queue.online
    )


def troubles(cluster: Cluster) -> list[str]:
    """Return a sentence for each problem."""
    wanted = wanted_members(cluster)
    too_few = [queue.name for queue in cluster.queues if len(queue.members) < wanted]
    down = sorted(set(cluster.nodes) - set(cluster.running))
    return [
        *(f"{node} is not running" for node in down),
        *([f"missing, or without a leader: {which(cluster.unlisted)}"] if cluster.unlisted else []),
        *(
            f"{queue.name} has lost its majority: only {len(queue.online)} of its members on "
            f"{', '.join(queue.members)} answer"
            for queue in cluster.queues
            if not queue.has_majority
        ),
        *(
            f"{node} is running, but its member does not answer: {which(queues)}"
            for node, queues in silent(cluster)
        ),
        *([f"fewer than {wanted} members: {which(too_few)}"] if too_few else []),
        *(
            f"{each.node} leads {each.led} of {len(each.queues)} queues"
            for each in spreads(cluster)
        ),
    ]


def _changeable(cluster: Cluster) -> list[QuorumQueue]:
    """Return the queues whose members can be changed, which needs a majority."""
    return [queue for queue in cluster.queues if queue.has_majority]


def _by_node(found: Iterable[tuple[str, str]]) -> list[tuple[str, tuple[str, ...]]]:
    queues: dict[str, list[str]] = defaultdict(list)
    for node, queue in found:
        queues[node].append(queue)
    return [(node, tuple(queues[node])) for node in sorted(queues)]
