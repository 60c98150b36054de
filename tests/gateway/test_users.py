"""Users as administrators see and change them, against Cognito: AWS's, or the emulator's."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import pytest

from cartwheel.local.demo_users import ADMIN
from cartwheel.local.demo_users import PASSWORD as ADMINS_PASSWORD

from .accounts import AUTH, customer, log_in
from .conftest import Gateway, Reply, gateway_of

USERS = "/api/v1/users"


class Admin:
    """An administrator who is logged in."""

    def __init__(self, real: Gateway, user_id: str, token: str) -> None:
        self.real = real
        self.id = user_id
        self.token = token

    async def call(self, method: str, path: str = "") -> Reply:
        return await self.real.call(method, f"{USERS}{path}", token=self.token)

    async def get(self, path: str = "") -> Any:
        reply = await self.call("GET", path)
        assert reply.status == 200, reply.body
        return reply.json

    async def changed(self, method: str, path: str) -> Any:
        reply = await self.call(method, path)
        assert reply.status == 200, reply.body
        return reply.json


async def signed_in(real: Gateway, email: str, password: str = ADMINS_PASSWORD) -> Admin:
    token = (await log_in(real, email, password)).json["access_token"]
    return Admin(real, (await real.get(f"{AUTH}/me", token)).json["id"], token)


@pytest.fixture
async def admin(real: Gateway) -> Admin:
    return await signed_in(real, ADMIN)


@pytest.fixture
async def zoe(real: Gateway, admin: Admin) -> AsyncGenerator[tuple[str, str]]:
    """The id and mail address of a new customer, who is no administrator afterwards."""
    email, tokens = await customer(real, "Zoë")
    user_id = (await real.get(f"{AUTH}/me", tokens["access_token"])).json["id"]
    yield user_id, email
    await admin.changed("PUT", f"/{admin.id}/groups/admin")
    await admin.changed("POST", f"/{admin.id}/enable")
    await admin.changed("DELETE", f"/{user_id}/groups/admin")


async def test_a_user_is_found_by_mail_address_and_shown(
    admin: Admin, zoe: tuple[str, str]
) -> None:
    user_id, email = zoe

    found = await admin.get(f"?email={email.upper()}")

    [listed] = found["data"]
    assert found["next_cursor"] is None
    assert (listed["id"], listed["email"], listed["name"]) == (user_id, email, "Zoë")
    assert (listed["status"], listed["enabled"]) == ("CONFIRMED", True)
    assert await admin.get(f"/{user_id}") == {**listed, "groups": []}
    assert (await admin.get("?email=nobody@example.com"))["data"] == []


async def test_only_the_whole_address_is_found_whatever_is_in_it(
    admin: Admin, zoe: tuple[str, str]
) -> None:
    for given in (zoe[1][:-1], f'{zoe[1]}"', '"^="@example.com', "\\@example.com"):
        reply = await admin.call("GET", f"?email={given.replace('^', '%5E')}")
        assert (reply.status, reply.json["data"]) == (200, []), given


async def test_pages_list_every_user_once(admin: Admin, zoe: tuple[str, str]) -> None:
    everybody = {each["id"] for each in (await admin.get("?limit=60"))["data"]}

    seen: list[str] = []
    cursor = ""
    while True:
        page = await admin.get(f"?limit=2{cursor}")
        assert len(page["data"]) <= 2
        seen += [each["id"] for each in page["data"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"

    assert len(seen) == len(set(seen))
    assert {zoe[0], admin.id} <= set(seen)
    assert set(seen) >= everybody


@pytest.mark.parametrize("cursor", ["ü", "A", "===", "_w"])
async def test_a_cursor_that_no_list_gave_is_refused(admin: Admin, cursor: str) -> None:
    reply = await admin.call("GET", f"?cursor={cursor}")
    assert (reply.status, reply.problem["code"]) == (422, "invalid_cursor")


async def test_an_administrator_is_made_and_unmade(
    real: Gateway, admin: Admin, zoe: tuple[str, str]
) -> None:
    user_id, email = zoe
    groups = f"/{user_id}/groups/admin"

    for _ in range(2):  # both may be repeated
        made = await admin.changed("PUT", groups)
        assert made["user"]["groups"] == ["admin"]
        assert "next access token" in made["notice"]
    new = await signed_in(real, email, "Good-Pass-1")
    assert (await new.get(f"/{user_id}"))["groups"] == ["admin"]
    for _ in range(2):
        unmade = await admin.changed("DELETE", groups)
        assert unmade["user"]["groups"] == []
        assert "up to an hour" in unmade["notice"]

    # What the answer says: the token that was there before still opens everything.
    assert (await new.call("GET", f"/{user_id}")).status == 200
    late = await signed_in(real, email, "Good-Pass-1")
    assert (await late.call("GET")).problem["code"] == "forbidden"


async def test_a_disabled_user_can_neither_log_in_nor_refresh_until_enabled(
    real: Gateway, admin: Admin, zoe: tuple[str, str]
) -> None:
    user_id, email = zoe
    tokens = (await log_in(real, email)).json

    for _ in range(2):
        disabled = await admin.changed("POST", f"/{user_id}/disable")
        assert disabled["user"]["enabled"] is False
        assert "up to an hour" in disabled["notice"]

    assert (await log_in(real, email)).status == 401
    refreshed = await real.post(f"{AUTH}/refresh", {"refresh_token": tokens["refresh_token"]})
    assert refreshed.status == 401
    for _ in range(2):
        enabled = await admin.changed("POST", f"/{user_id}/enable")
        assert enabled["user"]["enabled"] is True
    assert (await log_in(real, email)).status == 200


async def test_the_last_administrator_stays_one(
    real: Gateway, admin: Admin, zoe: tuple[str, str]
) -> None:
    user_id, _ = zoe
    groups, disable = f"/{admin.id}/groups/admin", f"/{admin.id}/disable"
    for method, path in (("DELETE", groups), ("POST", disable)):
        reply = await admin.call(method, path)
        assert (reply.status, reply.problem["code"]) == (409, "last_admin")

    # Another one who cannot log in does not count.
    await admin.changed("PUT", f"/{user_id}/groups/admin")
    await admin.changed("POST", f"/{user_id}/disable")
    for method, path in (("DELETE", groups), ("POST", disable)):
        reply = await admin.call(method, path)
        assert (reply.status, reply.problem["code"]) == (409, "last_admin")

    await admin.changed("POST", f"/{user_id}/enable")
    assert (await admin.changed("DELETE", groups))["user"]["groups"] == []
    assert (await admin.get(f"/{user_id}"))["groups"] == ["admin"]


@pytest.mark.parametrize(
    ("method", "what"), [("DELETE", "groups/admin"), ("POST", "disable")], ids=["remove", "disable"]
)
async def test_two_administrators_who_end_each_other_at_once_do_not_both_succeed(
    real: Gateway, admin: Admin, zoe: tuple[str, str], method: str, what: str
) -> None:
    await admin.changed("PUT", f"/{zoe[0]}/groups/admin")
    other = await signed_in(real, zoe[1], "Good-Pass-1")
    for _ in range(5):
        replies = await asyncio.gather(
            admin.call(method, f"/{other.id}/{what}"), other.call(method, f"/{admin.id}/{what}")
        )
        left = [await admin.get(f"/{each}") for each in (admin.id, other.id)]
        assert [each for each in left if each["enabled"] and each["groups"]]
        assert 409 in [reply.status for reply in replies]
        for each in (admin.id, other.id):
            await admin.changed("PUT", f"/{each}/groups/admin")
            await admin.changed("POST", f"/{each}/enable")


async def test_what_is_not_there_is_not_found(admin: Admin, zoe: tuple[str, str]) -> None:
    for method, path in (
        ("GET", "/nobody"),
        ("PUT", "/nobody/groups/admin"),
        ("DELETE", "/nobody/groups/admin"),
        ("POST", "/nobody/disable"),
        ("POST", "/nobody/enable"),
    ):
        reply = await admin.call(method, path)
        assert (reply.status, reply.problem["code"]) == (404, "user_not_found"), path
    reply = await admin.call("PUT", f"/{zoe[0]}/groups/nobility")
    assert (reply.status, reply.problem["code"]) == (404, "group_not_found")


async def test_nobody_but_administrators_sees_or_changes_users(
    real: Gateway, admin: Admin, zoe: tuple[str, str]
) -> None:
    token = (await log_in(real, zoe[1])).json["access_token"]
    for method, path in (
        ("GET", ""),
        ("GET", f"/{zoe[0]}"),
        ("PUT", f"/{zoe[0]}/groups/admin"),
        ("DELETE", f"/{admin.id}/groups/admin"),
        ("POST", f"/{admin.id}/disable"),
        ("POST", f"/{zoe[0]}/enable"),
    ):
        refused = await real.call(method, f"{USERS}{path}", token=token)
        assert (refused.status, refused.problem["code"]) == (403, "forbidden"), path
        assert (await real.call(method, f"{USERS}{path}")).status == 401, path
    assert (await admin.get(f"/{admin.id}"))["groups"] == ["admin"]
    assert (await admin.get(f"/{zoe[0]}"))["groups"] == []


async def test_a_gateway_without_aws_credentials_does_all_but_this(
    aws: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    for name in (*keys, "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    without = {name: value for name, value in aws.items() if name not in keys}
    async with gateway_of(without) as gateway:
        token = (await log_in(gateway, ADMIN, ADMINS_PASSWORD)).json["access_token"]
        reply = await gateway.get(USERS, token)

    assert (reply.status, reply.problem["code"]) == (503, "unavailable")
