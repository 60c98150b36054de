"""The names of a deployment's databases."""

import pytest

from cartwheel.kernel.settings import LONGEST_DATABASE_NAME, BadSettings, read
from cartwheel.operations.setup import Settings
from cartwheel.services import DATABASES, SERVICES, services

SERVERS = {"MONGODB_URI": "mongodb://h", "RABBITMQ_URL": "amqp://h"}


@pytest.mark.parametrize(
    "prefix", ["a/b", "a\\b", "a.b", "a b", 'a"', "a$", "a*", "a:", "ü", "a\n"]
)
def test_a_prefix_that_a_database_name_must_not_have_is_refused(prefix: str) -> None:
    with pytest.raises(BadSettings, match=r"^MONGODB_DATABASE_PREFIX is malformed: .*$"):
        read(Settings, {**SERVERS, "MONGODB_DATABASE_PREFIX": prefix})


def test_with_the_longest_prefix_every_name_still_fits() -> None:
    longest = "x" * (LONGEST_DATABASE_NAME - max(map(len, DATABASES)))

    settings = read(Settings, {**SERVERS, "MONGODB_DATABASE_PREFIX": longest})

    assert settings.mongodb_database_prefix == longest
    with pytest.raises(BadSettings, match="MONGODB_DATABASE_PREFIX"):
        read(Settings, {**SERVERS, "MONGODB_DATABASE_PREFIX": longest + "x"})


def test_each_service_has_a_database() -> None:
    assert tuple(each.name for each in services()) == SERVICES
    assert set(SERVICES) < set(DATABASES)
