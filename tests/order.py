"""The order of the files: first those that take longest, so that the workers end together."""

from collections.abc import Sequence

import pytest

LONGEST = (
    "cluster/test_ordeals.py",
    # They mostly wait for elections, while the ordeals need the processors. They are together
    # because they share a replica set.
    "failover/test_lost_primary.py",
    "failover/test_over_http.py",
    "failover/test_write_concern.py",
    "failover/test_failover.py",
    "failover/test_replica_set.py",
    "chaos/test_chaos.py",
    "cluster/test_command.py",
    "journeys/test_fuzzing.py",
    "quorum/test_growing.py",
    "local/test_reset.py",
    "test_adding_a_service.py",
    "journeys/test_commands.py",
    "kernel/test_redeliveries.py",
)


def longest_first(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    ranks = {name: rank for rank, name in enumerate(LONGEST)}

    def rank(item: pytest.Item) -> int:
        return ranks.get(item.nodeid.partition("::")[0].removeprefix("tests/"), len(ranks))

    return sorted(items, key=rank)
