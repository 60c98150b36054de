"""The main job, played by a client that is generated from the OpenAPI document."""

import asyncio
import os
import re
import secrets
import sys
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncGenerator
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from cartwheel.local.demo_users import ADMIN, PASSWORD, SIGN_UP_CODE
from cartwheel.local.up import System

from ..waiting import eventually
from .outside import mailed, tokenized

API_PAGE = Path(__file__).parents[2] / "docs" / "api.md"
PACKAGE = "generated_shop_client"


class Generated(NamedTuple):
    printed: str
    home: Path


class Client:
    """The generated package: `call` runs an operation, `new` makes one of its models."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._models: Any = import_module(f"{PACKAGE}.models")
        self._package: Any = import_module(PACKAGE)
        self.token = ""

    def new(self, model: str, **fields: object) -> Any:
        return getattr(self._models, model)(**fields)

    async def call(self, tag: str, operation: str, *places: str, **given: object) -> Any:
        """Return what the operation answers, as a model; an answer that is not described raises."""
        module: Any = import_module(f"{PACKAGE}.api.{tag}.{operation}")
        known = {"base_url": self._url, "raise_on_unexpected_status": True}
        client = (
            self._package.AuthenticatedClient(**known, token=self.token)
            if self.token
            else self._package.Client(**known)
        )
        async with client:
            return await module.asyncio(*places, client=client, **given)

    async def log_in(self, email: str) -> None:
        body = self.new("LogIn", email=email, password=PASSWORD)
        self.token = (await self.call("auth", "log_in", body=body)).access_token


@pytest.fixture(scope="module")
async def generated(
    system: System, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[Generated]:
    """The client, generated as anybody would do it, in a folder that Python imports from."""
    home = tmp_path_factory.mktemp("generated")
    programs = Path(sys.executable).parent
    process = await asyncio.create_subprocess_exec(
        programs / "openapi-python-client",
        *("generate", "--fail-on-warning", "--meta", "none"),
        *("--url", f"{system.url}/api/openapi.json", "--output-path", home / PACKAGE),
        env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"},  # it formats by ruff
        stdout=PIPE,
        stderr=STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    sys.path.insert(0, str(home))
    yield Generated(output.decode(), home)
    sys.path.remove(str(home))


@pytest.fixture
def client(system: System, generated: Generated) -> Client:
    return Client(f"{system.url}/api/v1")


@pytest.fixture
async def admin(system: System, generated: Generated) -> Client:
    admin = Client(f"{system.url}/api/v1")
    await admin.log_in(ADMIN)
    return admin


def test_a_client_is_generated_without_a_warning_and_has_every_operation(
    generated: Generated,
) -> None:
    assert "arning" not in generated.printed
    for operation in ("orders.place_order", "payments.create_payment", "products.update_product"):
        import_module(f"{PACKAGE}.api.{operation}")


async def test_it_plays_the_main_job(system: System, client: Client, admin: Client) -> None:
    price = client.new("Price", amount=1999, currency="USD")
    name = f"Wooden top {secrets.token_hex(6)}"
    top = client.new("NewProduct", name=name, price=price, stock=10)
    product = await admin.call("products", "create_product", body=top)
    email = f"grace-{secrets.token_hex(6)}@example.com"
    account = client.new("SignUp", name="Grace Hopper", email=email, password=PASSWORD)
    signed_up = await client.call("auth", "sign_up", body=account)
    code = client.new("Confirmation", email=email, code=SIGN_UP_CODE)
    await client.call("auth", "confirm", body=code)
    await client.log_in(email)

    item = client.new("OrderItem", product_id=product.id, quantity=2)
    wanted = client.new("NewOrder", items=[item])
    key = secrets.token_hex(8)
    order = await client.call("orders", "place_order", body=wanted, idempotency_key=key)
    again = await client.call("orders", "place_order", body=wanted, idempotency_key=key)
    paying = client.new(
        "NewPayment",
        order_id=order.id,
        method=client.new("ByCard", type_="card", token=await tokenized(system)),
        shipping_address=client.new(
            "NewShippingAddress",
            name="Grace Hopper",
            street="Harbour Street",
            number="9",
            city="Arlington",
            zip_code="22201",
        ),
    )
    payment = await client.call("payments", "create_payment", body=paying)

    async def look() -> Any:
        found = await client.call("orders", "get_order", order.id)
        assert found.status == "PAID"
        return found

    paid = await eventually(look)
    assert again == order
    assert order.user.id == signed_up.id
    assert (order.total.amount, order.total.currency) == (3998, "USD")
    assert (payment.status, payment.card.brand) == ("PAID", "visa")
    assert paid.shipping_address.city == "Arlington"
    assert paid.created_at.tzinfo is not None
    page = await client.call("orders", "list_orders", limit=1)
    assert [listed.id for listed in page.data] == [order.id]
    [mail] = await mailed(system, email)
    assert order.number in mail["Subject"]


async def test_the_example_of_the_page_runs(system: System, generated: Generated) -> None:
    [example] = re.findall(r"```python\n(.*?)```", API_PAGE.read_text(), re.DOTALL)
    here = example.replace("cartwheel_client", PACKAGE).replace("http://127.0.0.1:8000", system.url)

    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", f"{here}print(type(page).__name__)"),
        env={**os.environ, "PYTHONPATH": str(generated.home)},
        stdout=PIPE,
        stderr=STDOUT,
    )
    output, _ = await process.communicate()

    assert output.decode() == "OrderPage\n"


async def test_it_reads_refusals_and_cancels_without_a_body(admin: Client) -> None:
    price = admin.new("Price", amount=500, currency="USD")
    name = f"Tin robot {secrets.token_hex(6)}"
    robot = admin.new("NewProduct", name=name, price=price, stock=1)
    product = await admin.call("products", "create_product", body=robot)
    item = admin.new("OrderItem", product_id=product.id, quantity=1)
    wanted = admin.new("NewOrder", items=[item])
    order = await admin.call("orders", "place_order", body=wanted)

    sold_out = await admin.call("orders", "place_order", body=wanted)
    lost = await admin.call("orders", "get_order", "nowhere")
    canceled = await admin.call("orders", "cancel_order", order.id)

    assert (sold_out.status, sold_out.code) == (409, "insufficient_stock")
    assert [fault.field for fault in sold_out.errors] == ["items[0].quantity"]
    assert (lost.status, lost.code) == (404, "order_not_found")
    assert canceled.status == "CANCELED"
