"""What customers and attackers meet who try too often, at two gateways that share their counts."""

import asyncio
import secrets
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from urllib.parse import urlsplit

import msgspec
import pytest

from cartwheel.kernel.mongodb import Client
from cartwheel.local import ports
from cartwheel.local.demo_users import PASSWORD, SIGN_UP_CODE
from cartwheel.local.processes import GATEWAY, PROCESSES, command
from cartwheel.local.up import System

from .shop import ADDRESS, DECLINED_CARD, Answer, Customer, Shelf, Shop, by_card, open_shop


class Visitor:
    """Somebody at an address of their own, whom the balancer sends to each gateway in turn."""

    def __init__(self, gateways: list[Shop]) -> None:
        self._gateways = gateways
        self.address = f"2001:db8:{secrets.token_hex(2)}:{secrets.token_hex(2)}::1"

    async def post(self, path: str, body: object, *, token: str | None = None) -> Answer:
        self._gateways.reverse()
        forwarded = {"X-Forwarded-For": self.address}
        return await self._gateways[0].call("POST", path, body, token=token, headers=forwarded)

    async def log_in(self, email: str, password: str) -> Answer:
        return await self.post("/auth/login", {"email": email, "password": password})


@pytest.fixture(scope="module")
async def gateways(system: System) -> AsyncGenerator[list[Shop]]:
    """Two gateways whose proxy is believed, and whose database is the module's own."""
    uri = urlsplit(system.environment["MONGODB_URI"])
    own = uri._replace(path=f"/test_{secrets.token_hex(4)}").geturl()
    process = next(each for each in PROCESSES if each.name == GATEWAY)
    async with AsyncExitStack() as stack:
        shops: list[Shop] = []
        for number in (1, 2):
            given = {
                **system.environment,
                "PORT": str(ports.find_free()),
                "RATE_LIMITS": "on",
                "GATEWAY_MONGODB_URI": own,
                "TRUSTED_PROXIES": "127.0.0.1",
            }
            named = msgspec.structs.replace(process, name=f"limited.{number}")
            await system.supervisor.run(command(named, given))
            stack.push_async_callback(system.supervisor.stop, named.name)
            url = f"http://127.0.0.1:{given['PORT']}"
            shops.append(await stack.enter_async_context(open_shop(url)))
        yield shops


@pytest.fixture
def visitor(gateways: list[Shop]) -> Visitor:
    return Visitor(gateways)


async def test_after_ten_wrong_passwords_the_right_one_must_wait_at_that_address_alone(
    customer: Customer, visitor: Visitor, gateways: list[Shop]
) -> None:
    wrong = await asyncio.gather(
        *(visitor.log_in(customer.email, "Wrong-Pass-1") for _ in range(30))
    )
    right = await visitor.log_in(customer.email, PASSWORD)
    elsewhere = await Visitor(gateways).log_in(customer.email, PASSWORD)

    assert sorted(answer.status for answer in wrong) == [401] * 10 + [429] * 20
    right.refused(429, "too_many_requests")
    assert 1 <= int(right.headers["Retry-After"]) <= 300
    assert '"log-in";q=10;w=300' in right.headers["RateLimit-Policy"]
    assert '"log-in";r=0;t=' in right.headers["RateLimit"]
    assert elsewhere.status == 200


async def test_those_who_know_their_password_log_in_as_often_as_they_like(
    customer: Customer, visitor: Visitor
) -> None:
    for _ in range(15):
        assert (await visitor.log_in(customer.email, PASSWORD)).status == 200


async def test_twenty_declined_cards_of_a_customer_are_enough_from_wherever(
    customer: Customer, shelf: Shelf, gateways: list[Shop]
) -> None:
    product = await shelf.put_up(stock=100)

    async def pay(order: object, card: str) -> Answer:
        body = {"order_id": order, "method": by_card(card), "shipping_address": ADDRESS}
        return await Visitor(gateways).post("/payments", body, token=customer.token)

    orders = [(await customer.order(product)).made["id"] for _ in range(8)]
    # An order takes three attempts.
    declined = [await pay(order, DECLINED_CARD) for order in orders[:6] for _ in range(3)]
    paid = await pay(orders[6], "pm_card_visa")
    declined += [await pay(orders[7], DECLINED_CARD) for _ in range(2)]
    refused = await pay(orders[7], "pm_card_visa")

    assert [answer.body["status"] for answer in declined] == ["REJECTED"] * 20
    assert paid.made["status"] == "PAID"
    refused.refused(429, "too_many_requests")
    assert '"payment";q=20;w=600' in refused.headers["RateLimit-Policy"]


LIMITED = {
    "/auth/signup": {"sign-up-address"},
    "/auth/confirm": {"code", "code-address"},
    "/auth/reset-password": {"code", "code-address"},
    "/auth/resend-code": {"mailed-code", "mailed-code-address"},
    "/auth/forgot-password": {"mailed-code", "mailed-code-address"},
    "/auth/login": {"log-in", "log-in-address"},
    "/auth/refresh": set[str](),
}


@pytest.mark.parametrize("path", LIMITED)
async def test_an_answer_names_its_limits(visitor: Visitor, path: str) -> None:
    bodies = {
        "/auth/signup": {"name": "Ada"},
        "/auth/refresh": {"refresh_token": "x"},
        "/auth/reset-password": {"code": SIGN_UP_CODE},
        "/auth/confirm": {"code": SIGN_UP_CODE},
    }
    known = {"email": f"ada-{secrets.token_hex(6)}@example.com", "password": PASSWORD}
    takes_password = {"/auth/signup", "/auth/login", "/auth/reset-password"}
    if path not in takes_password:
        del known["password"]
    body = bodies.get(path, {}) if path == "/auth/refresh" else {**known, **bodies.get(path, {})}

    answer = await visitor.post(path, body)

    policies = answer.headers["RateLimit-Policy"].split(", ")
    assert {policy.split(";")[0].strip('"') for policy in policies} == {"requests", *LIMITED[path]}
    assert len(answer.headers["RateLimit"].split(", ")) == len(policies)


async def test_setup_prepares_the_gateways_database(system: System, client: Client) -> None:
    indexes = await client["gateway"]["rate_limits"].index_information()
    assert indexes["expired"]["expireAfterSeconds"] == 0
