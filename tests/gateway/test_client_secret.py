"""App clients with a secret: each call proves that its sender knows it."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any

import pytest
from aiobotocore.session import AioSession
from rich.pretty import pretty_repr
from structlog.typing import EventDict

from cartwheel.gateway.cognito import Cognito
from cartwheel.gateway.settings import Settings
from cartwheel.kernel.errors import Invalid, Unavailable
from cartwheel.kernel.settings import BadSettings, read
from cartwheel.local.demo_users import RESET_CODE, SIGN_UP_CODE

from .accounts import AUTH, PASSWORD, log_in, new_email, sign_up
from .conftest import ELSEWHERE, Gateway, gateway_of
from .issuer import CLIENT
from .scripted_cognito import Scripted, connected

SECRET = "the_secret_of_the_app_client"
EMAIL = "a@example.com"
HASH = "eLKz/5QSdU8TZ2Nybs1YK5T7DFVnGjs+rrB/LYq2DI4="
"""By OpenSSL: the HMAC-SHA256 of EMAIL and the client's id under SECRET, in Base64."""
POOL = {**ELSEWHERE, "COGNITO_USER_POOL_ID": "eu-west-1_Test", "COGNITO_CLIENT_ID": CLIENT}

CALLS: Mapping[str, Callable[[Cognito], Awaitable[object]]] = {
    "sign_up": lambda users: users.sign_up(name="Ada", email=EMAIL, password=PASSWORD),
    "confirm": lambda users: users.confirm(email=EMAIL, code="1"),
    "resend_code": lambda users: users.resend_code(email=EMAIL),
    "log_in": lambda users: users.log_in(email=EMAIL, password=PASSWORD),
    "refresh": lambda users: users.refresh("token"),
    "log_out": lambda users: users.log_out("token"),
    "forgot_password": lambda users: users.forgot_password(email=EMAIL),
    "reset_password": lambda users: users.reset_password(email=EMAIL, code="1", password=PASSWORD),
}
"""Everything that is asked in the app client's name."""


@pytest.fixture(scope="module")
async def secretive(aws: Mapping[str, str]) -> Mapping[str, str]:
    """The variables that reach Cognito through an app client with a secret."""
    session: Any = AioSession()
    async with session.create_client(
        "cognito-idp",
        region_name=aws["AWS_DEFAULT_REGION"],
        endpoint_url=aws["AWS_ENDPOINT_URL"],
        aws_access_key_id=aws["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=aws["AWS_SECRET_ACCESS_KEY"],
    ) as admin:
        made = await admin.create_user_pool_client(
            UserPoolId=aws["COGNITO_USER_POOL_ID"],
            ClientName="with-a-secret",
            GenerateSecret=True,
            ExplicitAuthFlows=["ALLOW_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"],
        )
    client = made["UserPoolClient"]
    return {
        **aws,
        "COGNITO_CLIENT_ID": client["ClientId"],
        "COGNITO_CLIENT_SECRET": client["ClientSecret"],
    }


@pytest.fixture(scope="module")
async def gateway(secretive: Mapping[str, str]) -> AsyncGenerator[Gateway]:
    async with gateway_of(secretive) as gateway:
        yield gateway


async def test_clients_notice_no_difference(gateway: Gateway) -> None:
    email = new_email()
    assert (await sign_up(gateway, email)).status == 201
    assert (await gateway.post(f"{AUTH}/resend-code", {"email": email})).status == 204
    code = {"email": email, "code": SIGN_UP_CODE}
    assert (await gateway.post(f"{AUTH}/confirm", code)).status == 204
    tokens = (await log_in(gateway, f" {email.upper()}")).json
    given = {"refresh_token": tokens["refresh_token"]}
    renewed = await gateway.post(f"{AUTH}/refresh", given)
    assert (await gateway.get(f"{AUTH}/me", renewed.json["access_token"])).status == 200
    assert (await gateway.post(f"{AUTH}/forgot-password", {"email": email})).status == 204
    new = {"email": email, "code": RESET_CODE, "password": "Other-Pass-2"}
    assert (await gateway.post(f"{AUTH}/reset-password", new)).status == 204
    assert (await log_in(gateway, email)).problem["code"] == "wrong_credentials"
    assert (await log_in(gateway, email, "Other-Pass-2")).status == 200
    assert (await gateway.post(f"{AUTH}/logout", given)).status == 204


@pytest.mark.parametrize("given", ["wrong", "none", "superfluous"])
async def test_a_wrong_secret_is_an_outage_whose_log_names_the_setting(
    aws: Mapping[str, str], secretive: Mapping[str, str], logged: list[EventDict], given: str
) -> None:
    environment = {
        "wrong": {**secretive, "COGNITO_CLIENT_SECRET": SECRET},
        "none": {**secretive, "COGNITO_CLIENT_SECRET": ""},
        "superfluous": {**aws, "COGNITO_CLIENT_SECRET": SECRET},
    }[given]
    email = new_email()
    code = {"email": email, "code": SIGN_UP_CODE}
    async with gateway_of(environment) as gateway:
        replies = [
            await sign_up(gateway, email),
            await gateway.post(f"{AUTH}/confirm", code),
            await gateway.post(f"{AUTH}/resend-code", {"email": email}),
            await log_in(gateway, email),
            await gateway.post(f"{AUTH}/forgot-password", {"email": email}),
            await gateway.post(f"{AUTH}/reset-password", {**code, "password": PASSWORD}),
        ]

    assert [(r.status, r.problem["code"]) for r in replies] == [(503, "unavailable")] * 6
    reasons = [entry["reason"] for entry in logged if entry["event"] == "outage"]
    assert len([reason for reason in reasons if "check COGNITO_CLIENT_SECRET" in reason]) == 6
    assert SECRET not in str(logged)


@pytest.mark.parametrize(
    ("call", "proof"),
    [
        ("sign_up", {"SecretHash": HASH}),
        ("confirm", {"SecretHash": HASH}),
        ("resend_code", {"SecretHash": HASH}),
        ("log_in", {"SECRET_HASH": HASH}),
        ("refresh", {"ClientSecret": SECRET}),
        ("log_out", {"ClientSecret": SECRET}),
        ("forgot_password", {"SecretHash": HASH}),
        ("reset_password", {"SecretHash": HASH}),
    ],
)
async def test_each_call_carries_a_proof_and_without_a_secret_none(
    scripted: Scripted, call: str, proof: dict[str, str]
) -> None:
    scripted.status, scripted.body = 500, b"{}"
    async with connected(scripted.url, SECRET) as users:
        with pytest.raises(Unavailable):
            await CALLS[call](users)
    proven: dict[str, Any] = scripted.asked
    with pytest.raises(Unavailable):
        await CALLS[call](scripted.users)
    unproven: dict[str, Any] = scripted.asked

    parameters = proven.get("AuthParameters", proven)
    assert parameters.items() >= proof.items()
    for name in proof:
        del parameters[name]
    assert proven == unproven


@pytest.mark.parametrize("call", ["log_in", "refresh", "log_out", "forgot_password"])
@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("NotAuthorizedException", "Unable to verify secret hash for client x"),
        ("NotAuthorizedException", "SecretHash does not match for the client: x"),
        (
            "NotAuthorizedException",
            "Client x is configured for secret but secret was not received",
        ),
        ("InvalidParameterException", "Client secret is required"),
        ("UnauthorizedException", "Invalid client secret"),
    ],
)
async def test_no_wording_of_aws_blames_the_users_password_or_token(
    scripted: Scripted, call: str, kind: str, text: str
) -> None:
    scripted.fails_with(kind, text)
    with pytest.raises(Unavailable, match="check COGNITO_CLIENT_SECRET"):
        await CALLS[call](scripted.users)


async def test_a_users_own_text_is_not_mistaken_for_that_error(scripted: Scripted) -> None:
    typed = "Value 'my 'secret' hash' at 'userAttributes' failed to satisfy constraint"
    scripted.fails_with("InvalidParameterException", typed)
    with pytest.raises(Invalid):
        await CALLS["sign_up"](scripted.users)


@pytest.mark.parametrize("show", [repr, str, pretty_repr, "{!r}".format])
def test_settings_do_not_show_it(show: Callable[[object], str]) -> None:
    settings = read(Settings, {**POOL, "COGNITO_CLIENT_SECRET": SECRET})
    assert settings.cognito_client_secret == SECRET
    assert SECRET not in show(settings)


@pytest.mark.parametrize(
    "malformed", ["two words, and each is long", f"{SECRET}\n", "x" * 23, "x" * 65]
)
def test_a_malformed_one_stops_the_start_and_is_not_repeated(malformed: str) -> None:
    with pytest.raises(BadSettings, match="COGNITO_CLIENT_SECRET is malformed") as refused:
        read(Settings, {**POOL, "COGNITO_CLIENT_SECRET": malformed})
    assert len(str(refused.value).splitlines()) == 1
    assert malformed not in str(refused.value)
