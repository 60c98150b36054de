"""One service's database is on its own server, and the other databases are on a private one.

Everything works, and a reset finds the database there.
"""

from pathlib import Path

from cartwheel.kernel import mongodb
from cartwheel.local import mongod, places, ports
from cartwheel.local.console import QUIET
from cartwheel.local.places import MongoDB, OneDatabase
from cartwheel.local.supervisor import supervising
from cartwheel.local.up import System, running
from cartwheel.services import DATABASES, GATEWAY, SERVICES

from ..beside import beside
from ..journeys.command_line import cartwheel, cartwheel_in
from ..journeys.shop import Shelf, open_shop


async def test_one_service_may_have_its_own_database_server(tmp_path: Path, system: System) -> None:
    async with (
        supervising(tmp_path / "elsewhere", QUIET) as supervisor,
        beside(system, "own") as shared,
    ):
        server = (await mongod.provide(supervisor))["MONGODB_URI"]
        given = {**shared.given, "ORDERS_MONGODB_URI": server.replace("/?", "/sales?")}
        home = tmp_path / "shop"
        async with (
            running(home, given=given) as own,
            mongodb.connect(server, process="tests") as client,
        ):
            async with open_shop(own.url) as shop:
                customer = await shop.sign_up()
                product = await Shelf(await shop.admin()).put_up(stock=3)
                order = (await customer.order(product)).made
                await customer.pay(order)
                await customer.sees(order, "PAID")
            assert await client["sales"]["orders"].find_one({"_id": order["id"]})
            for command in (("setup",), ("dlq", "audit"), ("verify", "--json")):
                ran = await cartwheel(own, *command)
                assert ran.status == 0, ran
            assert '"orders":1' in ran.output.replace(" ", "")

        ran = await cartwheel_in(home, "reset", "--yes")
        assert ran.status == 0, ran
        assert "✓ deleted database sales" in ran.errors
        async with mongodb.connect(server, process="tests") as client:
            assert "sales" not in await client.list_database_names()


async def test_an_error_names_the_variable_of_the_server_at_fault(
    system: System,
) -> None:
    nowhere = f"mongodb://127.0.0.1:{ports.find_free()}/shop"

    ran = await cartwheel_in(
        system.supervisor.home, "verify", environment={"PAYMENTS_MONGODB_URI": nowhere}
    )

    told = f"✗ PAYMENTS_MONGODB_URI points to {nowhere}, which refuses connections"
    assert (ran.status, ran.errors.strip()) == (2, told)


SHARED, OWN = "mongodb://h/?w=1", "mongodb://u:s3cret@i:1,j:2/shop"


def test_places_name_the_databases_on_each_server() -> None:
    found = places.given(
        {
            "MONGODB_URI": SHARED,
            "MONGODB_DATABASE_PREFIX": "my_",
            "ORDERS_MONGODB_URI": OWN,
            "PAYMENTS_MONGODB_URI": "mongodb://k",
        }
    )

    assert [str(place) for place in found] == [
        "MongoDB at h, prefix my_, without orders and payments",
        "MongoDB at i:1,j:2, database shop of orders",
        "MongoDB at k, database my_payments of payments",
    ]


def test_if_each_database_has_its_own_server_the_shared_one_is_not_a_place() -> None:
    names = (*SERVICES, GATEWAY)
    own = {f"{name.upper()}_MONGODB_URI": f"mongodb://{name}" for name in names}

    assert MongoDB(SHARED, "", names) in places.given({"MONGODB_URI": SHARED, **own})
    own["OPERATIONS_MONGODB_URI"] = "mongodb://o"
    found = places.given({"MONGODB_URI": SHARED, **own})
    assert [type(place) for place in found] == [OneDatabase] * len(DATABASES)


def test_the_file_of_an_older_version_is_read(tmp_path: Path) -> None:
    noted = '[{"type":"MongoDB","uri":"mongodb://h/?w=1","prefix":"my_"}]'
    (tmp_path / "servers.json").write_text(noted)

    assert places.remembered(tmp_path) == [MongoDB(SHARED, "my_")]
