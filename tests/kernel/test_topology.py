"""What is declared, where versions of RabbitMQ differ."""

import pytest

from cartwheel.kernel._bus.topology import dead_queue_arguments


@pytest.mark.parametrize(
    ("version", "limit"), [("3.10.8", None), ("3.13.7", None), ("4.0.1", -1), ("10.0.0", -1)]
)
def test_looking_at_dead_letters_never_deletes_them(version: str, limit: int | None) -> None:
    arguments = dead_queue_arguments(version)
    assert arguments["x-queue-type"] == "quorum"
    assert arguments.get("x-delivery-limit") == limit
