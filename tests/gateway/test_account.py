"""What users change of their own account: password and name."""

from .accounts import AUTH, PASSWORD, customer, log_in
from .conftest import Gateway

NEW = "Better-Pass-2"


async def test_a_password_is_changed_by_who_knows_the_old_one(real: Gateway) -> None:
    email, tokens = await customer(real)
    token = tokens["access_token"]

    changed = await real.post(
        f"{AUTH}/change-password", {"old_password": PASSWORD, "password": NEW}, token
    )

    assert (changed.status, changed.body) == (204, b"")
    # Whoever has lost that answer learns from a repeat that it was done.
    again = await real.post(
        f"{AUTH}/change-password", {"old_password": PASSWORD, "password": NEW}, token
    )
    assert (again.status, again.problem["code"]) == (422, "wrong_password")
    assert (await log_in(real, email)).status == 401
    assert (await log_in(real, email, NEW)).status == 200
    # Who changed it stays logged in.
    assert (await real.get(f"{AUTH}/me", token)).status == 200
    refreshed = await real.post(f"{AUTH}/refresh", {"refresh_token": tokens["refresh_token"]})
    assert refreshed.status == 200


async def test_a_wrong_old_password_or_a_weak_new_one_changes_nothing(real: Gateway) -> None:
    email, tokens = await customer(real)
    token = tokens["access_token"]

    wrong = await real.post(
        f"{AUTH}/change-password", {"old_password": "Wrong-Pass-1", "password": NEW}, token
    )
    weak = await real.post(
        f"{AUTH}/change-password", {"old_password": PASSWORD, "password": "weak"}, token
    )
    nobody = await real.post(f"{AUTH}/change-password", {"old_password": PASSWORD, "password": NEW})

    assert (wrong.status, wrong.problem["code"]) == (422, "wrong_password")
    assert [error["field"] for error in wrong.problem["errors"]] == ["old_password"]
    assert (weak.status, weak.problem["code"]) == (422, "weak_password")
    assert [error["field"] for error in weak.problem["errors"]] == ["password"]
    assert nobody.status == 401
    assert NEW not in wrong.body.decode()
    assert (await log_in(real, email)).status == 200


async def test_a_name_is_changed_and_shown_at_once(real: Gateway) -> None:
    _, tokens = await customer(real, "Ada")
    token = tokens["access_token"]
    before = (await real.get(f"{AUTH}/me", token)).json

    changed = await real.call("PATCH", f"{AUTH}/me", {"name": "  Ada Lovelace "}, token)

    assert (changed.status, changed.json) == (200, {**before, "name": "Ada Lovelace"})
    assert (await real.get(f"{AUTH}/me", token)).json == changed.json


async def test_only_the_name_can_be_changed(real: Gateway) -> None:
    _, tokens = await customer(real)
    token = tokens["access_token"]
    before = (await real.get(f"{AUTH}/me", token)).json

    for body in (
        {},
        {"name": ""},
        {"name": "Ada", "email": "eve@example.com"},
        {"groups": ["admin"]},
    ):
        reply = await real.call("PATCH", f"{AUTH}/me", body or b"{}", token)
        assert reply.status in (415, 422), body
    assert (await real.call("PATCH", f"{AUTH}/me", {"name": "Eve"})).status == 401
    assert (await real.get(f"{AUTH}/me", token)).json == before
