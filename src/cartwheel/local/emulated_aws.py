"""Creates in the emulator what Cartwheel needs in AWS: user pool, demo users, mail sender.

Each is created only if it is missing, so this may be repeated.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
import jwt

from cartwheel.contracts.identity import EMAIL_MARK, email_mark
from cartwheel.local.demo_users import ADMIN, CUSTOMER, PASSWORD

REGION = "us-east-1"
POOL = CLIENT = "cartwheel"
SENDER = "shop@example.com"
DEMO_USERS = {ADMIN: "Ada Admin", CUSTOMER: "Carl Customer"}
# The emulator treats these as the account's root, and does not check their signatures.
CREDENTIALS = {
    "AWS_DEFAULT_REGION": REGION,
    "AWS_ACCESS_KEY_ID": "cartwheel",
    "AWS_SECRET_ACCESS_KEY": "cartwheel",
}


class Unfit(Exception):
    """The emulator's tokens do not verify as Cognito's do."""


async def prepare(endpoint: str, mark_key: str) -> tuple[dict[str, str], bool]:
    """Create what is missing; return the variables for AWS, and whether anything was missing.

    `mark_key` is the key for marking verified addresses; see `email_mark`.
    """
    async with _clients(endpoint) as (cognito, ses):
        pool, made_pool = await _user_pool(cognito)
        client, made_client = await _app_client(cognito, pool)
        made_users = [
            await _user(cognito, pool, email, name, mark_key, admin=email == ADMIN)
            for email, name in DEMO_USERS.items()
        ]
        marked = await _mark_older_users(cognito, pool, mark_key)
        made_sender = await _sender(ses)
    values = {
        **CREDENTIALS,
        "AWS_ENDPOINT_URL": endpoint,
        "COGNITO_USER_POOL_ID": pool,
        "COGNITO_CLIENT_ID": client,
        "COGNITO_ISSUER": f"https://cognito-idp.{REGION}.amazonaws.com/{pool}",
        "COGNITO_JWKS_URL": f"{endpoint}/{pool}/.well-known/jwks.json",
        "SES_SENDER": f"Cartwheel <{SENDER}>",
        "EMULATED_COGNITO_KEY": mark_key,
    }
    return values, any([made_pool, made_client, made_sender, marked, *made_users])


@asynccontextmanager
async def _clients(endpoint: str) -> AsyncGenerator[tuple[Any, Any]]:
    # Imported here because this import is slow, and most commands do not need it.
    from aiobotocore.config import AioConfig
    from aiobotocore.session import AioSession

    session: Any = AioSession()
    async with AsyncExitStack() as stack:
        cognito, ses = [
            await stack.enter_async_context(
                session.create_client(
                    service,
                    region_name=REGION,
                    endpoint_url=endpoint,
                    aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
                    aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
                    config=AioConfig(connect_timeout=5, read_timeout=20),
                )
            )
            for service in ("cognito-idp", "sesv2")
        ]
        yield cognito, ses


async def _user_pool(cognito: Any) -> tuple[str, bool]:
    for pool in (await cognito.list_user_pools(MaxResults=60))["UserPools"]:
        if pool["Name"] == POOL:
            return pool["Id"], False
    made = await cognito.create_user_pool(
        PoolName=POOL,
        UsernameAttributes=["email"],
        AutoVerifiedAttributes=["email"],
        # With this, AWS keeps the old address until the new one is verified. The emulator does not.
        UserAttributeUpdateSettings={"AttributesRequireVerificationBeforeUpdate": ["email"]},
        Policies={
            "PasswordPolicy": {
                "MinimumLength": 8,
                "RequireUppercase": True,
                "RequireLowercase": True,
                "RequireNumbers": True,
                "RequireSymbols": False,
                "TemporaryPasswordValidityDays": 7,
            }
        },
    )
    pool_id = made["UserPool"]["Id"]
    await cognito.create_group(UserPoolId=pool_id, GroupName="admin")
    return pool_id, True


async def _app_client(cognito: Any, pool: str) -> tuple[str, bool]:
    known = await cognito.list_user_pool_clients(UserPoolId=pool, MaxResults=60)
    for client in known["UserPoolClients"]:
        if client["ClientName"] == CLIENT:
            return client["ClientId"], False
    made = await cognito.create_user_pool_client(
        UserPoolId=pool,
        ClientName=CLIENT,
        GenerateSecret=False,
        ExplicitAuthFlows=[
            "ALLOW_USER_PASSWORD_AUTH",
            "ALLOW_REFRESH_TOKEN_AUTH",
            "ALLOW_USER_SRP_AUTH",
        ],
        AccessTokenValidity=60,
        IdTokenValidity=60,
        RefreshTokenValidity=30,
        TokenValidityUnits={"AccessToken": "minutes", "IdToken": "minutes", "RefreshToken": "days"},
        PreventUserExistenceErrors="ENABLED",
        EnableTokenRevocation=True,
    )
    return made["UserPoolClient"]["ClientId"], True


async def _user(
    cognito: Any, pool: str, email: str, name: str, mark_key: str, *, admin: bool
) -> bool:
    try:
        await cognito.admin_get_user(UserPoolId=pool, Username=email)
    except cognito.exceptions.UserNotFoundException:
        pass
    else:
        return False
    attributes = {
        "email": email,
        "email_verified": "true",
        "name": name,
        EMAIL_MARK: email_mark(mark_key, email),
    }
    await cognito.admin_create_user(
        UserPoolId=pool,
        Username=email,
        UserAttributes=[{"Name": key, "Value": value} for key, value in attributes.items()],
        MessageAction="SUPPRESS",
    )
    await cognito.admin_set_user_password(
        UserPoolId=pool, Username=email, Password=PASSWORD, Permanent=True
    )
    if admin:
        await cognito.admin_add_user_to_group(UserPoolId=pool, Username=email, GroupName="admin")
    return True


async def _mark_older_users(cognito: Any, pool: str, mark_key: str) -> bool:
    """Mark, once, the addresses of users who are older than the marks; return whether it was done.

    The pool has the attribute from then on.
    """
    schema = (await cognito.describe_user_pool(UserPoolId=pool))["UserPool"]["SchemaAttributes"]
    if any(attribute["Name"] == EMAIL_MARK for attribute in schema):
        return False
    async for page in cognito.get_paginator("list_users").paginate(UserPoolId=pool):
        for user in page["Users"]:
            email = {each["Name"]: each["Value"] for each in user["Attributes"]}.get("email", "")
            mark = {"Name": EMAIL_MARK, "Value": email_mark(mark_key, email)}
            await cognito.admin_update_user_attributes(
                UserPoolId=pool, Username=user["Username"], UserAttributes=[mark]
            )
    # This comes last: if the process dies before, the next start marks all users again.
    await cognito.add_custom_attributes(
        UserPoolId=pool,
        CustomAttributes=[
            {
                "Name": EMAIL_MARK.removeprefix("custom:"),
                "AttributeDataType": "String",
                "Mutable": True,
            }
        ],
    )
    return True


async def _sender(ses: Any) -> bool:
    known = (await ses.list_email_identities())["EmailIdentities"]
    if any(identity["IdentityName"] == SENDER for identity in known):
        return False
    await ses.create_email_identity(EmailIdentity=SENDER)
    return True


async def check_tokens(values: Mapping[str, str]) -> None:
    """Log in as a demo user, and verify the access token as the gateway does.

    Raises:
        Unfit: the token does not verify.
    """
    async with _clients(values["AWS_ENDPOINT_URL"]) as (cognito, _):
        answer = await cognito.initiate_auth(
            ClientId=values["COGNITO_CLIENT_ID"],
            AuthFlow="USER_PASSWORD_AUTH",
            AuthParameters={"USERNAME": ADMIN, "PASSWORD": PASSWORD},
        )
    async with (
        aiohttp.ClientSession() as session,
        session.get(values["COGNITO_JWKS_URL"]) as response,
    ):
        keys = jwt.PyJWKSet.from_dict(await response.json(content_type=None))
    token = answer["AuthenticationResult"]["AccessToken"]
    try:
        key = keys[jwt.get_unverified_header(token)["kid"]]
        claims = jwt.decode(token, key, algorithms=["RS256"], issuer=values["COGNITO_ISSUER"])
    except (jwt.PyJWTError, KeyError) as error:
        raise Unfit(f"The AWS emulator's tokens do not verify: {error!r}") from error
    if claims.get("client_id") != values["COGNITO_CLIENT_ID"]:
        raise Unfit("The AWS emulator's tokens name another client")
