"""The hosted page: a card becomes a payment method without the shop, and without scripts."""

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from cartwheel.kernel import new_id
from cartwheel.simulator import checkout
from cartwheel.simulator.cards import recognise
from cartwheel.simulator.origins import Origins
from cartwheel.simulator.schema import MIGRATIONS

from .conftest import PUBLISHABLE_KEY, Simulator
from .storefront import Storefront

PATH = "/v1/checkout/sessions"
KEY = f"Bearer {PUBLISHABLE_KEY}"
GOOD = {"number": "4242 4242 4242 4242", "expiry": "12/34", "cvc": "123"}
AT = datetime(2026, 11, 30, tzinfo=UTC)


def addresses(storefront: Storefront, **otherwise: str) -> dict[str, str]:
    good = {
        "success_url": f"{storefront.origin}/done?session_id={{CHECKOUT_SESSION_ID}}",
        "cancel_url": f"{storefront.origin}/back",
    }
    return {"mode": "setup", **good, **otherwise}


async def begun(simulator: Simulator, storefront: Storefront) -> Any:
    status, session = await simulator.post(PATH, addresses(storefront), Authorization=KEY)
    assert status == 200, session
    return session


async def told(simulator: Simulator, session: Any, secret: str = "") -> tuple[int, Any]:
    secret = secret or session["client_secret"]
    where = f"{PATH}/{session['id']}?client_secret={secret}"
    return await simulator.call("GET", where, Authorization=KEY)


class Visit:
    """What a browser without scripts does: it opens the page and sends the form."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self._http = http
        self._url = url

    async def send(self, form: Any = GOOD) -> aiohttp.ClientResponse:
        return await self._http.post(self._url, data=form, allow_redirects=False)

    async def open(self) -> aiohttp.ClientResponse:
        return await self._http.get(self._url, allow_redirects=False)


async def test_the_way_back_names_the_session_and_its_secret_tells_the_token(
    simulator: Simulator, storefront: Storefront
) -> None:
    session = await begun(simulator, storefront)
    async with aiohttp.ClientSession() as http:
        before = await told(simulator, session)
        sent = await Visit(http, session["url"]).send()
    status, after = await told(simulator, session)

    assert before[1]["status"] == "open"
    assert "payment_method" not in before[1]
    assert sent.status == 303
    assert sent.headers["Location"] == f"{storefront.origin}/done?session_id={session['id']}"
    assert (status, after["status"]) == (200, "complete")
    payment_id = new_id("pay")
    new = {"payment_id": payment_id, "amount": 5, "currency": "USD", "confirm": True}
    status, intent = await simulator.post(
        "/v1/payment_intents",
        {**new, "token": after["payment_method"]},
        Idempotency_Key=payment_id,
    )
    assert (status, intent["status"]) == (200, "succeeded")


async def test_who_reads_the_way_back_gets_no_token(
    simulator: Simulator, storefront: Storefront
) -> None:
    session, other = [await begun(simulator, storefront) for _ in range(2)]
    async with aiohttp.ClientSession() as http:
        await Visit(http, session["url"]).send()

    for secret in ("x", session["id"], other["client_secret"]):
        assert (await told(simulator, session, secret))[0] == 404
    status, _ = await simulator.call("GET", f"{PATH}/{session['id']}", Authorization=KEY)
    assert status == 404


async def test_a_form_that_is_sent_twice_makes_one_payment_method(
    simulator: Simulator, storefront: Storefront
) -> None:
    session = await begun(simulator, storefront)
    async with aiohttp.ClientSession() as http:
        visit = Visit(http, session["url"])
        answers = [await visit.send()]
        first = await told(simulator, session)
        answers += [await visit.send(), await visit.open()]

    assert [answer.status for answer in answers] == [303] * 3
    assert len({answer.headers["Location"] for answer in answers}) == 1
    assert await told(simulator, session) == first


@pytest.mark.parametrize("name", ["success_url", "cancel_url"])
@pytest.mark.parametrize(
    "address",
    [
        "https://elsewhere.example/",
        "//elsewhere.example/",
        "/done",
        "javascript:alert(1)",
        "{origin}1/done",
        "{origin}.elsewhere.example/done",
        "{origin}@elsewhere.example/done",
        "{origin}\\@elsewhere.example/done",
        "{origin}#/done",
        "{origin}/a b",
        "{origin}/\r\nSet-Cookie: a=b",
        "",
    ],
)
async def test_nobody_is_sent_anywhere_but_back_to_the_shop(
    simulator: Simulator, storefront: Storefront, name: str, address: str
) -> None:
    wrong = {name: address.replace("{origin}", storefront.origin)}

    status, answer = await simulator.post(PATH, addresses(storefront, **wrong), Authorization=KEY)

    error = answer["error"]
    assert (status, error["code"], error["param"]) == (400, "url_invalid", name)


async def test_the_shops_pages_begin_sessions_and_its_server_does_not(
    simulator: Simulator, storefront: Storefront
) -> None:
    with_the_secret_key, _ = await simulator.post(PATH, addresses(storefront))
    without, _ = await simulator.post(PATH, addresses(storefront), Authorization="")

    assert (with_the_secret_key, without) == (403, 401)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"number": "4242 4242 4242 4241"}, "number"),
        ({"number": "<b>4242</b>"}, "number"),
        ({"expiry": "13/34"}, "expiry"),
        ({"expiry": "12/20"}, "expiry"),
        ({"expiry": "soon"}, "expiry"),
        ({"cvc": "98765"}, "cvc"),
    ],
)
async def test_a_wrong_card_shows_the_form_again_without_what_was_typed(
    simulator: Simulator, storefront: Storefront, wrong: dict[str, str], field: str
) -> None:
    session = await begun(simulator, storefront)
    async with aiohttp.ClientSession() as http:
        answer = await Visit(http, session["url"]).send({**GOOD, **wrong})
        page = await answer.text()

    assert answer.status == 402
    [marked] = [part for part in page.split("<input")[1:] if 'aria-invalid="true"' in part]
    assert f'id="{field}"' in marked
    assert not any(typed in page for typed in ("4242", "98765", "13/34", "12/20", "soon"))
    assert (await told(simulator, session))[1]["status"] == "open"


async def test_a_form_of_another_kind_is_refused(
    simulator: Simulator, storefront: Storefront
) -> None:
    """aiohttp writes the files of a multipart form to the disk."""
    session = await begun(simulator, storefront)
    form = aiohttp.FormData(GOOD, default_to_multipart=True)
    form.add_field("number", b"4242424242424242", filename="card.txt")
    async with aiohttp.ClientSession() as http:
        answer = await Visit(http, session["url"]).send(form)

    assert answer.status == 400
    assert (await told(simulator, session))[1]["status"] == "open"


async def test_pages_let_nothing_else_in_and_are_framed_by_nobody_else(
    simulator: Simulator, storefront: Storefront
) -> None:
    session = await begun(simulator, storefront)
    field = f"{simulator.url}/pages/card-field"
    async with aiohttp.ClientSession() as http:
        hosted = await Visit(http, session["url"]).open()
        framed = await http.get(field, params={"origin": storefront.origin})
        strangers = [
            await http.get(field, params={"origin": origin})
            for origin in (storefront.stranger, "*", "", f"{storefront.origin}/")
        ]
        unknown = await http.get(f"{simulator.url}/pages/checkout/cs_unknown")

    for page, scripts, frames in (
        (hosted, False, "'none'"),
        (framed, True, storefront.origin),
        (unknown, False, "'none'"),
        *((stranger, False, "'none'") for stranger in strangers),
    ):
        policy = dict(
            part.split(" ", 1) for part in page.headers["Content-Security-Policy"].split("; ")
        )
        assert policy["default-src"] == "'none'"
        assert policy.get("script-src") == ("'self'" if scripts else None)
        assert policy["frame-ancestors"] == frames
        assert "unsafe" not in str(policy)
        assert page.headers["Cache-Control"] == "no-store"
        assert page.headers["Referrer-Policy"] == "no-referrer"
    assert [page.status for page in strangers] == [403] * 4
    assert (hosted.status, framed.status, unknown.status) == (200, 200, 404)


def test_a_session_ends_after_half_an_hour_and_is_deleted_after_a_day(tmp_path: Path) -> None:
    shop = Origins("https://shop.example")
    new = checkout.NewSession(
        mode="setup", success_url="https://shop.example", cancel_url="https://shop.example"
    )
    card = recognise("4242424242424242", 12, 2034, "123", today=AT.date())
    with sqlite3.connect(tmp_path / "ledger", isolation_level=None) as db:
        for script in MIGRATIONS:
            db.executescript(script)
        session, done = (checkout.begin(db, new, AT, shop=shop, page="") for _ in range(2))
        late, later = AT + timedelta(minutes=31), AT + timedelta(hours=25)
        checkout.complete(db, done.id, card, AT, shop=shop)

        with pytest.raises(checkout.Over):
            checkout.complete(db, session.id, card, late, shop=shop)
        secrets = [(each.id, each.client_secret or "") for each in (session, done)]
        ended = [checkout.find(db, *each, late).status for each in secrets]
        checkout.begin(db, new, later, shop=shop, page="")
        (left,) = db.execute("SELECT count(*) FROM sessions").fetchone()
    db.close()

    assert ended == ["expired", "complete"]
    assert left == 1


@pytest.mark.parametrize(
    "text", ["shop.example", "https://shop.example/", "HTTPS://shop.example", "http://h:80", "*"]
)
def test_origins_are_listed_as_browsers_write_them(text: str) -> None:
    with pytest.raises(ValueError, match=r"Expected origins such as https://shop\.example"):
        Origins(f"https://other.example, {text}")
