"""All of `auth` against Cognito: AWS's, or the emulator's."""

import asyncio
import json
import secrets
import time
from collections.abc import Mapping
from typing import Any

import pytest
from aiobotocore.session import AioSession
from structlog.typing import EventDict

from cartwheel.gateway import cognito
from cartwheel.gateway.cognito import Cognito, InvalidRefreshToken
from cartwheel.gateway.identity import Verifier
from cartwheel.gateway.routes import auth
from cartwheel.kernel.errors import Overloaded, TimedOut, Unavailable
from cartwheel.local.demo_users import RESET_CODE, SIGN_UP_CODE

from .accounts import AUTH, PASSWORD, customer, log_in, new_email, sign_up
from .conftest import Gateway, probe_app, running
from .scripted_cognito import Scripted, connected, cut_off


async def test_a_customer_signs_up_confirms_logs_in_and_is_known_by_name(real: Gateway) -> None:
    email = new_email()
    signed_up = await sign_up(real, email)
    assert (signed_up.status, signed_up.json["email"]) == (201, email)
    early = await log_in(real, email)
    assert (early.status, early.problem["code"]) == (403, "user_not_confirmed")
    assert (await real.post(f"{AUTH}/resend-code", {"email": email})).status == 204
    confirmed = await real.post(f"{AUTH}/confirm", {"email": email, "code": SIGN_UP_CODE})
    assert (confirmed.status, confirmed.body) == (204, b"")
    logged_in = await log_in(real, email)
    assert logged_in.status == 200
    assert logged_in.headers["Cache-Control"] == "no-store"
    tokens = logged_in.json
    assert set(tokens) == {
        "access_token",
        "id_token",
        "refresh_token",
        "expires_in",
        "token_type",
    }
    assert (tokens["token_type"], tokens["expires_in"] > 0) == ("Bearer", True)
    me = await real.get(f"{AUTH}/me", tokens["access_token"])
    assert me.json == {
        "id": signed_up.json["id"],
        "name": "Ada Lovelace",
        "email": email,
        "groups": [],
    }


async def test_an_address_is_the_same_in_any_case_and_with_spaces_around(real: Gateway) -> None:
    email, _ = await customer(real)
    assert (await log_in(real, f"  {email.upper()} ")).status == 200
    again = await sign_up(real, email.title())
    assert (again.status, again.problem["code"]) == (409, "email_taken")


async def test_a_name_is_trimmed(real: Gateway) -> None:
    _, tokens = await customer(real, "  Ada  ")
    assert (await real.get(f"{AUTH}/me", tokens["access_token"])).json["name"] == "Ada"


@pytest.mark.parametrize("domain", ["shop.test", "example.com", "bücher.example"])
async def test_an_address_may_be_in_any_domain_of_the_internets(real: Gateway, domain: str) -> None:
    email = f"ada.{secrets.token_hex(6)}@{domain}"

    assert (await sign_up(real, email)).json["email"] == email


async def test_a_token_without_a_name_still_has_one(real: Gateway, aws: Mapping[str, str]) -> None:
    email = new_email()
    session: Any = AioSession()
    pool = aws["COGNITO_USER_POOL_ID"]
    client = session.create_client(
        "cognito-idp",
        region_name=pool.partition("_")[0],
        endpoint_url=aws.get("AWS_ENDPOINT_URL"),
        aws_access_key_id=aws.get("AWS_ACCESS_KEY_ID"),
        aws_secret_access_key=aws.get("AWS_SECRET_ACCESS_KEY"),
    )
    async with client as admin:
        await admin.admin_create_user(
            UserPoolId=pool,
            Username=email,
            UserAttributes=[
                {"Name": "email", "Value": email},
                {"Name": "email_verified", "Value": "true"},
            ],
            MessageAction="SUPPRESS",
        )
        await admin.admin_set_user_password(
            UserPoolId=pool, Username=email, Password=PASSWORD, Permanent=True
        )
    tokens = (await log_in(real, email)).json
    me = await real.get(f"{AUTH}/me", tokens["access_token"])
    assert (me.status, me.json["name"]) == (200, email.partition("@")[0])


async def test_the_id_token_is_not_taken_for_the_access_token(real: Gateway) -> None:
    _, tokens = await customer(real)
    reply = await real.get(f"{AUTH}/me", tokens["id_token"])
    assert (reply.status, reply.problem["code"]) == (401, "invalid_token")


async def test_groups_are_those_of_the_token(real: Gateway) -> None:
    tokens = (await log_in(real, "admin@example.com", "Cartwheel-Demo-1")).json
    me = await real.get(f"{AUTH}/me", tokens["access_token"])
    assert me.json["groups"] == ["admin"]


async def test_a_refresh_token_gives_new_tokens_until_it_is_revoked(real: Gateway) -> None:
    _, tokens = await customer(real)
    given = {"refresh_token": tokens["refresh_token"]}
    renewed = await real.post(f"{AUTH}/refresh", given)
    assert renewed.status == 200
    assert renewed.json["refresh_token"] == tokens["refresh_token"]
    assert (await real.get(f"{AUTH}/me", renewed.json["access_token"])).status == 200
    assert (await real.post(f"{AUTH}/logout", given)).status == 204
    assert (await real.post(f"{AUTH}/logout", given)).status == 204
    refused = await real.post(f"{AUTH}/refresh", given)
    assert (refused.status, refused.problem["code"]) == (401, "invalid_refresh_token")
    made_up = await real.post(f"{AUTH}/refresh", {"refresh_token": "made up"})
    assert made_up.problem["code"] == "invalid_refresh_token"


async def test_a_forgotten_password_is_replaced(real: Gateway) -> None:
    email, _ = await customer(real)
    assert (await real.post(f"{AUTH}/forgot-password", {"email": email})).status == 204
    new = {"email": email, "code": RESET_CODE, "password": "Other-Pass-2"}
    assert (await real.post(f"{AUTH}/reset-password", new)).status == 204
    assert (await log_in(real, email, "Other-Pass-2")).status == 200
    old = await log_in(real, email)
    assert (old.status, old.problem["code"]) == (401, "wrong_credentials")


async def test_nobody_confirms_an_address_with_a_code_that_was_not_mailed(real: Gateway) -> None:
    email = new_email()
    await sign_up(real, email)

    wrong = await real.post(f"{AUTH}/confirm", {"email": email, "code": "000000"})

    assert (wrong.status, wrong.problem["code"]) == (422, "wrong_code")
    assert (await log_in(real, email)).problem["code"] == "user_not_confirmed"


async def test_nobody_sets_a_password_with_a_code_that_was_not_mailed(real: Gateway) -> None:
    email, _ = await customer(real)
    wrong = {"email": email, "code": "000000", "password": "Other-Pass-2"}

    unasked = await real.post(f"{AUTH}/reset-password", {**wrong, "code": RESET_CODE})
    await real.post(f"{AUTH}/forgot-password", {"email": email})
    guessed = await real.post(f"{AUTH}/reset-password", wrong)

    assert (unasked.status, unasked.problem["code"]) == (422, "wrong_code")
    assert (guessed.status, guessed.problem["code"]) == (422, "wrong_code")
    assert (await log_in(real, email)).status == 200


async def test_after_a_log_out_the_access_token_names_its_user_only_where_that_was_known(
    real: Gateway,
) -> None:
    (_, known), (_, unknown) = await customer(real), await customer(real)
    assert (await real.get(f"{AUTH}/me", known["access_token"])).status == 200

    for tokens in (known, unknown):
        await real.post(f"{AUTH}/logout", {"refresh_token": tokens["refresh_token"]})

    assert (await real.get(f"{AUTH}/me", known["access_token"])).status == 200
    refused = await real.get(f"{AUTH}/me", unknown["access_token"])
    assert (refused.status, refused.problem["code"]) == (401, "invalid_token")


async def test_a_new_password_ends_no_session(real: Gateway) -> None:
    """So it is on AWS, too."""
    email, tokens = await customer(real)
    await real.post(f"{AUTH}/forgot-password", {"email": email})
    new = {"email": email, "code": RESET_CODE, "password": "Other-Pass-2"}
    assert (await real.post(f"{AUTH}/reset-password", new)).status == 204

    renewed = await real.post(f"{AUTH}/refresh", {"refresh_token": tokens["refresh_token"]})

    assert (await real.get(f"{AUTH}/me", tokens["access_token"])).status == 200
    assert (await real.get(f"{AUTH}/me", renewed.json["access_token"])).status == 200


async def test_a_weak_password_is_422_and_says_what_is_missing(real: Gateway) -> None:
    email = new_email()
    body = {"name": "Ada", "email": email, "password": "weak"}
    reply = await real.post(f"{AUTH}/signup", body)
    assert (reply.status, reply.problem["code"]) == (422, "weak_password")
    (fault,) = reply.problem["errors"]
    assert fault["field"] == "password"
    assert "uppercase" in fault["message"]
    email, _ = await customer(real)
    await real.post(f"{AUTH}/forgot-password", {"email": email})
    reset = {"email": email, "code": RESET_CODE, "password": "weak"}
    reply = await real.post(f"{AUTH}/reset-password", reset)
    assert (reply.status, reply.problem["code"]) == (422, "weak_password")


async def test_nobody_learns_whether_an_address_has_an_account(real: Gateway) -> None:
    known, _ = await customer(real)
    for path in ("resend-code", "forgot-password"):
        replies = [
            await real.post(f"{AUTH}/{path}", {"email": email}) for email in (known, new_email())
        ]
        assert {(reply.status, reply.body) for reply in replies} == {(204, b"")}
    wrong = [await log_in(real, email, "Wrong-Pass-1") for email in (known, new_email())]
    assert {(r.status, r.problem["code"], r.problem["detail"]) for r in wrong} == {
        (401, "wrong_credentials", "The email address or the password is wrong.")
    }
    stranger = {"email": new_email(), "code": SIGN_UP_CODE}
    reply = await real.post(f"{AUTH}/confirm", stranger)
    assert (reply.status, reply.problem["code"]) == (422, "wrong_code")
    reply = await real.post(f"{AUTH}/reset-password", {**stranger, "password": PASSWORD})
    assert (reply.status, reply.problem["code"]) == (422, "wrong_code")


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"email": "not an address"}, "email"),
        ({"email": "a@b"}, "email"),
        ({"email": "a@b@example.com"}, "email"),
        ({"email": "a@example.com\r\nBcc: x@example.com"}, "email"),
        ({"email": "a" * 250 + "@example.com"}, "email"),
        ({"email": "a." * 100_000}, "email"),
        ({"email": "<script>x@example.com"}, "email"),
        ({"email": "a<b@x>y.example"}, "email"),
        ({"email": "a,b@example.com"}, "email"),
        ({"email": "a@example..com"}, "email"),
        ({"email": "a\0@example.com"}, "email"),
        ({"email": "a\u202eb@example.com"}, "email"),
        ({"email": "zoë@example.com"}, "email"),
        ({"name": "\x1bAda"}, "name"),
        ({"name": "\x00"}, "name"),
        ({"name": "\u200b"}, "name"),
        ({"name": "Ada\u202e"}, "name"),
        ({"name": "Ada\n"}, "name"),
        ({"name": ""}, "name"),
        ({"name": "   "}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": "Ada\r\nBcc: x@example.com"}, "name"),
        ({"name": "Ada\x00"}, "name"),
        ({"password": ""}, "password"),
        ({"password": "Aa1" * 100}, "password"),
        ({"password": 12345678}, "password"),
        ({"groups": ["admin"]}, ""),
        ({"custom:role": "admin"}, ""),
    ],
)
async def test_a_sign_up_that_is_not_valid_names_the_field(
    real: Gateway, changed: dict[str, object], field: str
) -> None:
    begun = time.thread_time()  # of this thread, in which the gateway runs
    body = {"name": "Ada", "email": new_email(), "password": PASSWORD, **changed}
    reply = await real.post(f"{AUTH}/signup", body)
    assert reply.status == 422
    assert [fault["field"] for fault in reply.problem["errors"]] == [field]
    assert time.thread_time() - begun < 0.5


async def test_no_password_code_or_token_is_logged(real: Gateway, logged: list[EventDict]) -> None:
    email, tokens = await customer(real)
    await log_in(real, email, "Wrong-Pass-1")
    await real.get(f"{AUTH}/me", tokens["access_token"])
    await real.post(f"{AUTH}/logout", {"refresh_token": tokens["refresh_token"]})
    assert len(logged) >= 5
    for secret in (PASSWORD, "Wrong-Pass-1", SIGN_UP_CODE, tokens["access_token"], email):
        assert secret not in str(logged)


class TestOutages:
    async def test_a_log_in_is_answered_503(self, verifier: tuple[Verifier, Cognito]) -> None:
        app = probe_app(*verifier, routes=[auth.router])
        async with running(app) as gateway:
            reply = await log_in(gateway, "a@example.com")
            assert (reply.status, reply.problem["code"]) == (503, "unavailable")
            assert (await gateway.get("/health/live")).status == 200

    async def test_a_refused_connection_is_an_outage_without_secrets(self) -> None:
        async with cut_off() as users:
            with pytest.raises(Unavailable) as raised:
                await users.log_in(email="a@example.com", password=PASSWORD)
        assert raised.value.__cause__ is None
        assert raised.value.__suppress_context__

    async def test_silence_is_a_timeout(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cognito, "CALL_SECONDS", 0.3)

        async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        server = await asyncio.start_server(swallow, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with connected(f"http://127.0.0.1:{port}") as users:
            with pytest.raises(TimedOut):
                await users.log_in(email="a@example.com", password=PASSWORD)
            waiting = [
                asyncio.create_task(users.resend_code(email="a@example.com")) for _ in range(300)
            ]
            results = await asyncio.gather(*waiting, return_exceptions=True)
        kinds = [type(result) for result in results]
        assert (kinds.count(TimedOut), kinds.count(Overloaded)) == (256, 44)
        server.close()

    @pytest.mark.parametrize(
        ("status", "body", "kind"),
        [
            (500, b"oops", "unavailable"),
            (503, b"<html>", "unavailable"),
            (
                400,
                b'{"__type": "TooManyRequestsException"}',
                "too_many_requests",
            ),
            (400, b'{"__type": "LimitExceededException"}', "too_many_requests"),
            (400, b'{"__type": "ExpiredCodeException", "message": "x"}', "wrong_code"),
            (400, b'{"__type": "PasswordHistoryPolicyViolationException"}', "weak_password"),
            (400, b'{"__type": "PasswordResetRequiredException"}', "password_reset_required"),
            (400, b'{"__type": "SomethingNewException"}', "unavailable"),
            (200, b'{"ChallengeName": "SMS_MFA", "Session": "x"}', "challenge_required"),
            (400, b'{"__type": "InvalidParameterException", "message": "bad xyz"}', "invalid"),
        ],
    )
    async def test_whatever_it_answers_is_a_known_outcome(
        self, scripted: Scripted, status: int, body: bytes, kind: str
    ) -> None:
        """Answers that the emulator never gives, as AWS documents them."""
        scripted.status, scripted.body = status, body
        with pytest.raises(Exception) as raised:  # noqa: PT011 the code tells
            await scripted.users.log_in(email="a@example.com", password=PASSWORD)
        assert getattr(raised.value, "code", repr(raised.value)) == kind
        assert "xyz" not in str(raised.value)

    @pytest.mark.parametrize(
        "kind",
        ["UserNotFoundException", "InvalidParameterException", "NotAuthorizedException"],
    )
    async def test_mailing_a_code_does_not_reveal_whether_the_user_exists(
        self, scripted: Scripted, kind: str
    ) -> None:
        """AWS says so for users that are unknown, confirmed already, or disabled."""
        scripted.status, scripted.body = 400, b'{"__type": "%s"}' % kind.encode()
        await scripted.users.resend_code(email="a@example.com")
        await scripted.users.forgot_password(email="a@example.com")


class TestRefreshTokens:
    async def test_a_pool_with_rotation_returns_a_new_refresh_token(
        self, scripted: Scripted
    ) -> None:
        result = {"AccessToken": "a", "IdToken": "i", "RefreshToken": "next", "ExpiresIn": 3600}
        scripted.status = 200
        scripted.body = json.dumps({"AuthenticationResult": result}).encode()

        assert (await scripted.users.refresh("first")).refresh_token == "next"

    @pytest.mark.parametrize(
        "kind",
        ["NotAuthorizedException", "RefreshTokenReuseException", "UserNotFoundException"],
    )
    async def test_an_invalid_refresh_token_requires_a_new_login(
        self, scripted: Scripted, kind: str
    ) -> None:
        scripted.fails_with(kind)

        with pytest.raises(InvalidRefreshToken):
            await scripted.users.refresh("token")


class TestVerifiedAddresses:
    """AWS tells which are; of the emulator, `tests/journeys/test_mail_addresses.py`."""

    @pytest.mark.parametrize(
        ("told", "fit"),
        [
            ({"email": "a@example.com", "email_verified": "true"}, True),
            ({"email": "a@example.com", "email_verified": "false"}, False),
            ({"email": "a@example.com"}, False),
            ({"email": "a@example.com", "custom:email_mark": "0"}, False),
            ({"email": '"a b"@example.com', "email_verified": "true"}, False),
            ({"email": "", "email_verified": "true"}, False),
            ({"email_verified": "true"}, False),
        ],
    )
    async def test_an_address_is_fit_for_mail_when_aws_calls_it_verified_and_it_is_one(
        self, scripted: Scripted, told: dict[str, str], fit: bool
    ) -> None:
        scripted.answers_about(told)

        profile = await scripted.users.get_user("token")

        assert (profile.unfit is None) == fit
        assert profile.email == told.get("email", "")

    @pytest.mark.parametrize(
        ("name", "known_as"),
        [
            ("  Ada \t Lovelace\r\n", "Ada Lovelace"),
            ("\x1b[2J\u202e", "[2J"),
            ("x" * 2048, "x" * 100),
            ("\ud800", "a"),
            ("\u200b", "a"),
        ],
    )
    async def test_a_name_is_made_to_fit(
        self, scripted: Scripted, name: str, known_as: str
    ) -> None:
        scripted.answers_about({"name": name, "email": "a@example.com"})

        assert (await scripted.users.get_user("token")).name == known_as
