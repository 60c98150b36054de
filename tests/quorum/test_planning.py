"""The plans for clusters of all shapes."""

from cartwheel.operations.quorum.cluster import Cluster, QuorumQueue
from cartwheel.operations.quorum.planning import adds, drops, spreads, troubles
from cartwheel.operations.quorum.steps import Add, Drop

ALL = ("a", "b", "c")


def queue(name: str, *members: str, online: tuple[str, ...] | None = None) -> QuorumQueue:
    answering = members if online is None else online
    return QuorumQueue(name, members, answering, answering[0] if answering else None)


def cluster(*queues: QuorumQueue, nodes: str = "abc", down: str = "") -> Cluster:
    return Cluster({node: node not in down for node in nodes}, queues)


def test_a_healthy_cluster_is_not_changed() -> None:
    fine = cluster(queue("q1", "a", "b", "c"), queue("q2", "b", "a", "c"))

    assert (drops(fine), adds(fine), spreads(fine), troubles(fine)) == ([], [], [], [])


def test_a_queue_of_a_single_node_gets_members_on_the_others() -> None:
    grown = adds(cluster(queue("q1", "a"), queue("q2", *ALL)))

    assert grown == [Add("b", ("q1",)), Add("c", ("q1",))]


def test_two_nodes_have_two_members() -> None:
    assert adds(cluster(queue("q1", "a"), nodes="ab")) == [Add("b", ("q1",))]


def test_five_nodes_have_three_members_and_share_them() -> None:
    grown = adds(cluster(*(queue(f"q{n}", "a") for n in range(6)), nodes="abcde"))

    assert [(step.node, len(step.queues)) for step in grown] == [
        ("b", 3), ("c", 3), ("d", 3), ("e", 3)
    ]  # fmt: skip


def test_more_members_than_three_are_kept() -> None:
    assert drops(cluster(queue("q1", *"abcde"), nodes="abcde")) == []


def test_a_node_that_is_down_keeps_its_member_and_gets_no_new_one() -> None:
    missing = cluster(queue("q1", *ALL, online=("a", "b")), queue("q2", "a", "b"), down="c")

    assert (drops(missing), adds(missing)) == ([], [])
    assert troubles(missing) == ["c is not running", "fewer than 3 members: q2"]


def test_the_member_of_a_forgotten_node_moves_to_another_node() -> None:
    replaced = cluster(queue("q1", "a", "b", "old", online=("a", "b")))

    assert drops(replaced) == [Drop("old", ("q1",))]
    assert adds(replaced) == [Add("c", ("q1",))]


def test_a_queue_without_a_majority_is_only_reported() -> None:
    lost = cluster(queue("q1", "a", "old", online=("a",)), nodes="ab")

    assert (drops(lost), adds(lost)) == ([], [])
    assert troubles(lost) == ["q1 has lost its majority: only 1 of its members on a, old answer"]


def test_a_queue_that_is_not_listed_is_reported() -> None:
    seen = Cluster({"a": True, "b": True}, (queue("q1", "a", "b"),), unlisted=("q2",))

    assert troubles(seen) == ["missing, or without a leader: q2"]


def test_a_silent_member_on_a_running_node_is_reported() -> None:
    assert troubles(cluster(queue("q1", *ALL, online=("a", "b")))) == [
        "c is running, but its member does not answer: q1"
    ]


def test_leaders_are_spread_if_a_node_leads_more_than_its_share_and_one() -> None:
    three = [queue(f"q{n}", *ALL) for n in range(3)]
    others = [queue(f"r{n}", *order) for n, order in enumerate(("bca", "bac", "cba"))]

    [spread] = spreads(cluster(*three, queue("q3", *ALL), *others[:2]))

    assert (spread.node, spread.led, len(spread.queues)) == ("a", 4, 6)
    assert spreads(cluster(*three, *others)) == []


def test_a_node_without_members_leads_no_queue() -> None:
    orders = ("abc", "abc", "abc", "bca", "bca", "cab")
    on_three = [queue(f"q{n}", *order) for n, order in enumerate(orders)]

    assert spreads(cluster(*on_three, nodes="abcdefgh")) == []
