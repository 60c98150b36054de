"""Each service's database may be on a server of its own, which its own variable names."""

import msgspec
import pytest

from cartwheel.kernel.settings import (
    BadSettings,
    DatabaseAddress,
    DatabaseAddresses,
    DatabasePrefix,
    check,
    read,
)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    databases: DatabaseAddresses
    mongodb_database_prefix: DatabasePrefix = ""


def addresses(*services: str, **environment: str) -> dict[str, DatabaseAddress]:
    return dict(read(Settings, environment, databases=services).databases.by_service)


def refusal(*services: str, **environment: str) -> str:
    with pytest.raises(BadSettings) as bad:
        read(Settings, environment, databases=services)
    return str(bad.value)


def test_a_services_own_uri_wins_and_the_others_share() -> None:
    found = addresses(
        "orders", "seats", MONGODB_URI="mongodb://h/x", ORDERS_MONGODB_URI="mongodb://i"
    )

    assert found == {
        "orders": DatabaseAddress("ORDERS_MONGODB_URI", "mongodb://i", "orders"),
        "seats": DatabaseAddress("MONGODB_URI", "mongodb://h/x", "seats"),
    }


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("mongodb://u:p%2F@a:1,[::1]:2/shop_orders?replicaSet=r&authSource=admin", "shop_orders"),
        ("mongodb+srv://cluster.example/shop", "shop"),
        ("mongodb://a:1/?replicaSet=r", "my_orders"),
        ("mongodb://a:1?replicaSet=r", "my_orders"),
        ("mongodb://a:1", "my_orders"),
    ],
)
def test_the_path_of_its_own_uri_names_the_database_else_prefix_and_service_do(
    uri: str, name: str
) -> None:
    found = addresses("orders", ORDERS_MONGODB_URI=uri, MONGODB_DATABASE_PREFIX="my_")

    assert found["orders"].name == name


def test_without_any_uri_each_variable_that_would_do_is_named() -> None:
    assert addresses("orders", ORDERS_MONGODB_URI="mongodb://i").keys() == {"orders"}
    assert refusal("orders", "seats", "tickets", SEATS_MONGODB_URI="mongodb://i") == (
        "MONGODB_URI is not set, nor ORDERS_MONGODB_URI, TICKETS_MONGODB_URI"
    )


@pytest.mark.parametrize(
    "uri",
    [
        "s3cret",
        "mongodb://u:12/s3cret@host/",
        "mongodb://host/admin?replicaSet=s3cret",
        "mongodb://host/local",
        "mongodb://host/s3cret.orders",
        f"mongodb://host/{64 * 'x'}",
    ],
)
def test_a_malformed_one_is_told_by_its_variable_and_stops_only_its_service(uri: str) -> None:
    given = {"MONGODB_URI": "mongodb://h", "ORDERS_MONGODB_URI": uri}

    sentence = refusal("seats", "orders", **given)

    assert sentence.startswith("ORDERS_MONGODB_URI is malformed: expected mongodb://")
    assert "s3cret" not in sentence
    assert addresses("seats", **given)["seats"].uri == "mongodb://h"
    with pytest.raises(BadSettings, match=r"^ORDERS_MONGODB_URI is malformed"):
        check([Settings], given, databases=["orders", "seats"])


def test_two_services_must_not_share_a_database() -> None:
    shared = "mongodb://h/shop"

    assert refusal("orders", "seats", ORDERS_MONGODB_URI=shared, SEATS_MONGODB_URI=shared) == (
        "SEATS_MONGODB_URI is malformed: ORDERS_MONGODB_URI names that database"
    )


def test_the_servers_are_listed_once_each() -> None:
    settings = read(
        Settings,
        {"MONGODB_URI": "mongodb://h", "SEATS_MONGODB_URI": "mongodb://i"},
        databases=["orders", "seats", "tickets"],
    )

    found = {each.variable for each in settings.databases.distinct()}
    assert found == {"MONGODB_URI", "SEATS_MONGODB_URI"}
