"""`cartwheel admin`: the users' permissions, which Cognito stores."""

from typing import Any

import msgspec

ADMINS = "admin"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    cognito_user_pool_id: str


class NotGranted(Exception):
    """Cognito did not grant the permission. The message says why."""


async def grant(email: str, settings: Settings) -> None:
    """Put the user into the admin group. Tokens show it from the next login on. Repeatable.

    Raises:
        NotGranted: nobody has signed up as `email`, or Cognito is down or refuses.
    """
    # Imported here because this import is slow, and most commands do not need it.
    from aiobotocore.session import AioSession
    from botocore.exceptions import BotoCoreError, ClientError

    pool = settings.cognito_user_pool_id
    session: Any = AioSession()
    try:
        async with session.create_client(
            "cognito-idp", region_name=pool.partition("_")[0]
        ) as cognito:
            try:
                await cognito.create_group(UserPoolId=pool, GroupName=ADMINS)
            except ClientError as error:
                if _code(error) != "GroupExistsException":
                    raise
            await cognito.admin_add_user_to_group(
                UserPoolId=pool, Username=email.strip().lower(), GroupName=ADMINS
            )
    except ClientError as error:
        unknown = _code(error) == "UserNotFoundException"
        raise NotGranted(f"nobody has signed up as {email}" if unknown else str(error)) from None
    except BotoCoreError as error:
        raise NotGranted(str(error)) from None


def _code(error: Any) -> str:
    return error.response["Error"]["Code"]
