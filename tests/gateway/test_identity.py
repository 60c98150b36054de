import asyncio
import base64
import hashlib
import hmac
import json
import time

import aiohttp
import pytest
from litestar.routes import HTTPRoute

from cartwheel.contracts.identity import User
from cartwheel.gateway.cognito import Cognito
from cartwheel.gateway.identity import EmailNotVerified, Profile, Verifier
from cartwheel.gateway.jwks import KeySet

from ..waiting import eventually
from .conftest import Gateway, probe_app, running
from .issuer import CLIENT, ISSUER, Issuer, issuing, new_key
from .scripted_cognito import cut_off

WHOAMI = "/api/v1/probe/whoami"


async def test_a_valid_access_token_identifies_the_caller(gateway: Gateway, issuer: Issuer) -> None:
    reply = await gateway.get(WHOAMI, issuer.token(sub="user-7"))
    assert (reply.status, reply.json) == (200, {"user_id": "user-7", "admin": False})


async def test_a_request_without_a_token_is_401(gateway: Gateway) -> None:
    reply = await gateway.get(WHOAMI)
    assert reply.status == 401
    assert reply.problem["code"] == "unauthenticated"
    assert reply.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "changed",
    [
        {"exp": 1},
        {"exp": None},
        {"exp": "tomorrow"},
        {"exp": int(time.time()) - 10},
        {"client_id": "another-client"},
        {"client_id": None},
        {"iss": "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_Other"},
        {"iss": None},
        {"token_use": "id", "aud": CLIENT},
        {"token_use": None},
        {"sub": None},
        {"sub": 7},
        {"nbf": int(time.time()) + 86_400},  # the suite may take a while to come here
        {"cognito:groups": "admin"},
        {"kid": "unknown"},
        {"key": new_key()},
    ],
    ids=" ".join,  # the same in every worker, which keys and times are not
)
async def test_a_token_with_anything_wrong_is_refused(
    gateway: Gateway, issuer: Issuer, changed: dict[str, object]
) -> None:
    reply = await gateway.get(WHOAMI, issuer.token(**changed))  # type: ignore[arg-type]
    assert reply.status == 401
    assert reply.problem["code"] == "invalid_token"
    assert reply.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'


async def test_a_token_signed_by_nobody_or_with_the_public_key_as_a_secret_is_refused(
    gateway: Gateway, issuer: Issuer
) -> None:
    unsigned = issuer.token(algorithm="none", key="")
    # PyJWT refuses to make this one, as it should; attackers don't use PyJWT.
    confused = hmac_signed(issuer)
    for token in (unsigned, confused):
        reply = await gateway.get(WHOAMI, token)
        assert reply.problem["code"] == "invalid_token"


def hmac_signed(issuer: Issuer) -> str:
    def encode(data: bytes) -> bytes:
        return base64.urlsafe_b64encode(data).rstrip(b"=")

    head = encode(json.dumps({"alg": "HS256", "typ": "JWT", "kid": "one"}).encode())
    signed = head + b"." + encode(json.dumps(issuer.claims()).encode())
    digest = hmac.new(issuer.public_pem, signed, hashlib.sha256).digest()
    return (signed + b"." + encode(digest)).decode()


@pytest.mark.parametrize(
    "header",
    [
        "Bearer",
        "Bearer ",
        "Bearer x",
        "Bearer a.b.c",
        "Bearer ....",
        "Basic dXNlcjpwYXNz",
        "Bearer " + "[" * 6000,
        "Bearer " + "W1tb" * 1500 + ".e30.e30",  # 4,500 brackets
        "Bearer bnVsbA.bnVsbA.bnVsbA",
        "Bearer \xff\xfe",
        "Bearer " + "a" * 20_000,
    ],
    ids=lambda header: header[:20],
)
async def test_garbage_instead_of_a_token_is_refused(gateway: Gateway, header: str) -> None:
    request = f"GET {WHOAMI} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: {header}"
    answer = await gateway.send_raw(request.encode("latin-1") + b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 401 "), answer
    assert b'"invalid_token"' in answer


async def test_two_tokens_are_refused_even_if_one_is_valid(
    gateway: Gateway, issuer: Issuer
) -> None:
    request = (
        f"GET {WHOAMI} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        f"Authorization: Bearer {issuer.token()}\r\nAuthorization: Bearer x\r\n\r\n"
    )
    assert (await gateway.send_raw(request.encode())).startswith(b"HTTP/1.1 401 ")


async def test_a_remembered_token_is_refused_once_it_has_expired(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cartwheel.gateway.identity.LEEWAY", 0)
    async with aiohttp.ClientSession() as http, cut_off() as users:
        keys = KeySet(issuer.url, http)
        verifier = Verifier(keys, users, issuer=ISSUER, client_id=CLIENT)
        async with running(probe_app(verifier, users)) as gateway:
            token = issuer.token(exp=int(time.time()) + 3)
            assert (await gateway.get(WHOAMI, token)).status == 200

            async def refused() -> None:
                assert (await gateway.get(WHOAMI, token)).status == 401

            await eventually(refused)


async def test_administrators_are_those_whose_token_names_the_group(
    gateway: Gateway, issuer: Issuer
) -> None:
    path = "/api/v1/probe/admins-only"
    customer = await gateway.get(path, issuer.token(groups=["friends"]))
    admin = await gateway.get(path, issuer.token(groups=["friends", "admin"]))
    assert (customer.status, customer.problem["code"]) == (403, "forbidden")
    assert admin.status == 200
    assert (await gateway.get(path)).status == 401
    assert (await gateway.call("OPTIONS", path)).status == 204


async def test_every_route_requires_a_token_except_these(real: Gateway, gateway: Gateway) -> None:
    public = {
        "/api/v1/auth/signup",
        "/api/v1/auth/confirm",
        "/api/v1/auth/resend-code",
        "/api/v1/auth/login",
        "/api/v1/auth/refresh",
        "/api/v1/auth/logout",
        "/api/v1/auth/forgot-password",
        "/api/v1/auth/reset-password",
        "/",
        "/api",
        "/api/openapi.json",
        "/api/assets/{name:str}",
        "/health/live",
        "/health/ready",
    }
    visited = {"/api/v1/products", "/api/v1/products/{product_id:str}"}
    asked = 0
    for route in real.app.routes:
        assert isinstance(route, HTTPRoute)
        for method in route.methods - {"OPTIONS"}:
            reply = await real.call(method, route.path_format.replace("{", "").replace("}", ""))
            reading = method in ("GET", "HEAD")
            open_to_all = route.path in public or (route.path in visited and reading)
            assert (reply.status != 401) == open_to_all, (method, route.path)
            asked += 1
    assert asked > len(public)


class TestKeys:
    async def test_an_unknown_key_is_fetched_once_for_many_requests(self) -> None:
        async with issuing() as issuer, aiohttp.ClientSession() as http:
            keys = KeySet(issuer.url, http, after_success=0.3)
            await asyncio.gather(*(keys.key("one") for _ in range(50)))
            assert issuer.fetches == 1

    async def test_a_cancelled_request_does_not_cancel_the_fetch_for_others(self) -> None:
        async with issuing() as issuer, aiohttp.ClientSession() as http:
            keys = KeySet(issuer.url, http)
            first, second = (asyncio.create_task(keys.key("one")) for _ in range(2))
            await asyncio.sleep(0)
            first.cancel()
            assert await second is not None

    async def test_a_flood_of_unknown_keys_is_fetched_at_a_bounded_rate(self) -> None:
        async with issuing() as issuer, aiohttp.ClientSession() as http:
            keys = KeySet(issuer.url, http, after_success=0.3)
            begun = time.monotonic()
            asked = 0
            async with asyncio.timeout(30):
                while asked <= 100 or issuer.fetches < 3:
                    assert await keys.key(f"made-up-{asked}") is None
                    asked += 1
                    await asyncio.sleep(0)
            assert issuer.fetches <= (time.monotonic() - begun) / 0.3 + 1

    async def test_a_new_key_is_found(self) -> None:
        async with issuing() as issuer, aiohttp.ClientSession() as http:
            keys = KeySet(issuer.url, http, after_success=0)
            assert await keys.key("two") is None
            issuer.keys["two"] = new_key()
            assert await keys.key("two") is not None

    async def test_an_outage_of_the_endpoint_harms_nobody_whose_key_is_known(self) -> None:
        async with issuing() as issuer, aiohttp.ClientSession() as http:
            keys = KeySet(issuer.url, http, after_success=0, after_failure=0)
            assert await keys.key("one") is not None
            issuer.away = True
            assert await keys.key("two") is None
            assert await keys.key("one") is not None

    async def test_without_any_key_the_answer_is_503_until_there_is_one(self) -> None:
        async with issuing() as issuer, aiohttp.ClientSession() as http, cut_off() as users:
            issuer.away = True
            keys = KeySet(issuer.url, http, after_failure=0.2)
            verifier = Verifier(keys, users, issuer=ISSUER, client_id=CLIENT)
            async with running(probe_app(verifier, users)) as gateway:
                reply = await gateway.get(WHOAMI, issuer.token())
                assert (reply.status, reply.problem["code"]) == (503, "unavailable")
                assert int(reply.headers["Retry-After"]) > 0
                issuer.away = False

                async def is_back() -> None:
                    assert (await gateway.get(WHOAMI, issuer.token())).status == 200

                await eventually(is_back)


class TestProfile:
    async def test_the_profile_is_fetched_once_per_token(
        self, issuer: Issuer, counted: "Counted", asker: Verifier
    ) -> None:
        headers = [(b"authorization", b"Bearer " + issuer.token().encode())]
        identities = [await asker.identify(headers) for _ in range(5)]
        users = await asyncio.gather(*(identity.customer() for identity in identities))
        assert counted.asked == 1
        assert set(users) == {User(id="user-1", name="Ada", email="ada@example.com")}

    async def test_an_unfit_address_is_refused_and_looked_up_again_each_time(
        self, issuer: Issuer, counted: "Counted", asker: Verifier
    ) -> None:
        headers = [(b"authorization", b"Bearer " + issuer.token().encode())]
        identity = await asker.identify(headers)
        counted.unfit = "It is not verified."
        with pytest.raises(EmailNotVerified, match=r"It is not verified\."):
            await identity.customer()
        assert (await identity.profile()).name == "Ada"

        counted.unfit = None

        assert (await identity.customer()).email == "ada@example.com"
        assert counted.asked == 3

    async def test_a_failure_is_not_cached(
        self, issuer: Issuer, counted: "Counted", asker: Verifier
    ) -> None:
        headers = [(b"authorization", b"Bearer " + issuer.token().encode())]
        counted.fails = True
        identity = await asker.identify(headers)
        with pytest.raises(ConnectionError):
            await identity.profile()
        counted.fails = False
        assert (await identity.profile()).name == "Ada"

    async def test_a_cancelled_request_does_not_cancel_the_profile_for_others(
        self, issuer: Issuer, counted: "Counted", asker: Verifier
    ) -> None:
        headers = [(b"authorization", b"Bearer " + issuer.token().encode())]
        identity = await asker.identify(headers)
        first, second = (asyncio.create_task(identity.profile()) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        assert (await second).name == "Ada"
        assert counted.asked == 1

    @pytest.fixture
    def counted(self) -> "Counted":
        return Counted()

    @pytest.fixture
    async def asker(
        self, counted: "Counted", verifier: tuple[Verifier, Cognito], issuer: Issuer
    ) -> Verifier:
        async with aiohttp.ClientSession() as http:
            keys = KeySet(issuer.url, http)
            assert await keys.key("one")
        return Verifier(keys, counted, issuer=ISSUER, client_id=CLIENT)


class Counted:
    def __init__(self) -> None:
        self.asked = 0
        self.fails = False
        self.unfit: str | None = None

    async def get_user(self, access_token: str) -> Profile:
        self.asked += 1
        await asyncio.sleep(0.02)
        if self.fails:
            raise ConnectionError
        return Profile(name="Ada", email="ada@example.com", unfit=self.unfit)
