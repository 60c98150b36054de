"""How the processes of a cluster are started."""

from pathlib import Path

import pytest

from cartwheel.local.cluster import replicas
from cartwheel.local.processes import PROCESSES, settings


@pytest.mark.parametrize(
    ("given", "seconds"), [({}, 5.0), ({"DRAIN_SECONDS": ""}, 5.0), ({"DRAIN_SECONDS": "2"}, 2.0)]
)
def test_gateways_drain_as_long_as_haproxy_needs_or_as_it_is_given(
    given: dict[str, str], seconds: float, tmp_path: Path
) -> None:
    environment = settings(tmp_path, replicas.with_drain(given), None)

    started = replicas.commands(tmp_path, environment, PROCESSES, 2)

    drains = {each.name: each.drain_seconds for each in started if each.drain_seconds}
    assert drains == {"gateway.1": seconds, "gateway.2": seconds}
