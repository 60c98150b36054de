"""Tokens that must be refused, and users whom the shop did not sign up itself."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import jwt
import msgspec
from aiobotocore.session import AioSession
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from cartwheel.contracts.identity import EMAIL_MARK, email_mark
from cartwheel.local.demo_users import CUSTOMER, PASSWORD, SIGN_UP_CODE
from cartwheel.local.emulated_aws import CREDENTIALS, REGION
from cartwheel.local.up import System

from .shop import Customer

LEEWAY = 5.0
"""Seconds by which the gateway lets clocks differ."""


class Strange(msgspec.Struct, frozen=True, kw_only=True):
    """Genuine tokens of the user pool: one for another app, and one of ours that was valid for one
    second, from `since` on."""

    for_another_app: str
    short_lived: str
    since: float

    async def expired(self) -> str:
        await asyncio.sleep(self.since + 1 + LEEWAY + 1 - time.monotonic())
        return self.short_lived


async def strange_tokens(system: System) -> Strange:
    pool = system.environment["COGNITO_USER_POOL_ID"]
    ours = system.environment["COGNITO_CLIENT_ID"]
    async with _cognito(system) as cognito:
        theirs = await cognito.create_user_pool_client(
            UserPoolId=pool,
            ClientName="somebody-elses-app",
            ExplicitAuthFlows=["ALLOW_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"],
        )
        for_another_app = await _log_in(cognito, theirs["UserPoolClient"]["ClientId"])
        described = await cognito.describe_user_pool_client(UserPoolId=pool, ClientId=ours)
        known = cognito.meta.service_model.operation_model("UpdateUserPoolClient").input_shape
        settings = {
            name: value
            for name, value in described["UserPoolClient"].items()
            if name in known.members and value
        }
        units = {**settings["TokenValidityUnits"], "AccessToken": "seconds"}
        await cognito.update_user_pool_client(
            **{**settings, "AccessTokenValidity": 1, "TokenValidityUnits": units}
        )
        short_lived = await _log_in(cognito, ours)
        await cognito.update_user_pool_client(**settings)
    return Strange(for_another_app=for_another_app, short_lived=short_lived, since=time.monotonic())


async def _log_in(cognito: Any, client: str, username: str = CUSTOMER) -> str:
    answer = await cognito.initiate_auth(
        ClientId=client,
        AuthFlow="USER_PASSWORD_AUTH",
        AuthParameters={"USERNAME": username, "PASSWORD": PASSWORD},
    )
    return answer["AuthenticationResult"]["AccessToken"]


def forged(token: str, **claims: object) -> str:
    """Return `token` with other claims, signed with a key that has the id of the pool's key."""
    header = jwt.get_unverified_header(token)
    said: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    key = generate_private_key(65537, 2048)
    return jwt.encode({**said, **claims}, key, algorithm="RS256", headers={"kid": header["kid"]})


async def add_nameless_user(system: System, email: str) -> None:
    """Create a user with a verified mail address and a password, but without a name."""
    pool = system.environment["COGNITO_USER_POOL_ID"]
    mark = email_mark(system.environment["EMULATED_COGNITO_KEY"], email)
    attributes = {"email": email, EMAIL_MARK: mark}
    async with _cognito(system) as cognito:
        await cognito.admin_create_user(
            UserPoolId=pool,
            Username=email,
            UserAttributes=[{"Name": name, "Value": value} for name, value in attributes.items()],
            MessageAction="SUPPRESS",
        )
        await cognito.admin_set_user_password(
            UserPoolId=pool, Username=email, Password=PASSWORD, Permanent=True
        )


async def sign_up_at_cognito(system: System, email: str) -> None:
    """Create a user with Cognito's own API and confirm the address, as any client may."""
    client = system.environment["COGNITO_CLIENT_ID"]
    attributes = [{"Name": "email", "Value": email}, {"Name": "email_verified", "Value": "true"}]
    async with _cognito(system) as cognito:
        await cognito.sign_up(
            ClientId=client, Username=email, Password=PASSWORD, UserAttributes=attributes
        )
        await cognito.confirm_sign_up(
            ClientId=client, Username=email, ConfirmationCode=SIGN_UP_CODE
        )


async def change_behind_our_back(system: System, customer: Customer, **attributes: str) -> Customer:
    """Change a user's attributes with their own access token at Cognito, as any client may.

    Return the user with a new token that the gateway has not seen yet.
    """
    changes = [{"Name": name, "Value": value} for name, value in attributes.items()]
    async with _cognito(system) as cognito:
        await cognito.update_user_attributes(AccessToken=customer.token, UserAttributes=changes)
        token = await _log_in(cognito, system.environment["COGNITO_CLIENT_ID"], customer.id)
    return Customer(
        customer.shop, user_id=customer.id, name=customer.name, email=customer.email, token=token
    )


@asynccontextmanager
async def _cognito(system: System) -> AsyncGenerator[Any]:
    session: Any = AioSession()
    async with session.create_client(
        "cognito-idp",
        region_name=REGION,
        endpoint_url=system.environment["AWS_ENDPOINT_URL"],
        aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
    ) as client:
        yield client
