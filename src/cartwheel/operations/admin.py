"""`cartwheel admin`: who may do what, in Cognito."""

from typing import Any

import msgspec
from aiobotocore.session import AioSession
from botocore.exceptions import ClientError


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    cognito_user_pool_id: str


class NoSuchUser(Exception):
    """Nobody has signed up with that mail address."""


ADMINS = "admin"


async def grant(email: str, settings: Settings) -> None:
    """Put the user into the admin group; it shows in tokens from their next log-in on. Repeatable.

    Raises:
        NoSuchUser: nobody has signed up as `email`.
    """
    pool = settings.cognito_user_pool_id
    session: Any = AioSession()
    async with session.create_client("cognito-idp", region_name=pool.partition("_")[0]) as cognito:
        try:
            await cognito.create_group(UserPoolId=pool, GroupName=ADMINS)
        except ClientError as error:
            if _code(error) != "GroupExistsException":
                raise
        try:
            await cognito.admin_add_user_to_group(
                UserPoolId=pool, Username=email.strip().lower(), GroupName=ADMINS
            )
        except ClientError as error:
            if _code(error) == "UserNotFoundException":
                raise NoSuchUser(f"nobody has signed up as {email}") from None
            raise


def _code(error: ClientError) -> str:
    response: Any = error.response
    return response["Error"]["Code"]
