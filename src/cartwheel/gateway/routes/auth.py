"""Signing up, logging in, and who one is. Cognito keeps users and passwords, nobody here does."""

from typing import Annotated

import msgspec
from litestar import Router, get, patch, post
from litestar.di import NamedDependency
from litestar.params import JSONBody, SkipValidation

from cartwheel.contracts import mail_address, text
from cartwheel.contracts.identity import LONGEST_NAME
from cartwheel.gateway import examples
from cartwheel.gateway.card import card_free
from cartwheel.gateway.cognito import (
    ANY_CALL,
    GETTING_USER,
    AlreadyConfirmed,
    ChallengeRequired,
    Cognito,
    EmailTaken,
    InvalidRefreshToken,
    PasswordResetRequired,
    Tokens,
    UserNotConfirmed,
    WeakPassword,
    WrongCode,
    WrongCredentials,
    WrongPassword,
)
from cartwheel.gateway.described import described
from cartwheel.gateway.idempotency import UnkeptKey
from cartwheel.gateway.identity import PUBLIC, Identity, SignedIn
from cartwheel.gateway.rate_limits import (
    CODE,
    LOG_IN,
    MAILED_CODE,
    PASSWORD,
    SIGN_UP,
    Attempts,
)
from cartwheel.kernel.errors import FieldError, Invalid

Users = NamedDependency[SkipValidation[Cognito]]

Email = Annotated[
    str,
    msgspec.Meta(
        max_length=254,
        pattern=text.MAIL_ADDRESS,
        description="Compared without regard to case",
        examples=["ada@example.com"],
    ),
]
Name = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=LONGEST_NAME,
        pattern=text.LINE,
        examples=["Ada Lovelace"],
    ),
]
Password = Annotated[str, msgspec.Meta(min_length=1, max_length=256, examples=["Cartwheel-Demo-1"])]
Code = Annotated[str, msgspec.Meta(max_length=64, pattern=text.CODE, examples=["123456"])]
_RefreshToken = Annotated[str, msgspec.Meta(min_length=1, max_length=8192)]


class _Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class SignUp(_Body, frozen=True):
    name: Name
    email: Email
    password: Password


class Confirmation(_Body, frozen=True):
    email: Email
    code: Code


class LogIn(_Body, frozen=True):
    email: Email
    password: Password


class EmailAddress(_Body, frozen=True):
    email: Email


class RefreshToken(_Body, frozen=True):
    refresh_token: _RefreshToken


class NewPassword(_Body, frozen=True):
    email: Email
    code: Code
    password: Password


_CODE = "123456"
_OLD_PASSWORD = "Until-Now-1"  # noqa: S105 an example
_NEW_PASSWORD = "From-Now-On-1"  # noqa: S105 an example


class AccountChanges(_Body, frozen=True):
    name: Name


class ChangedPassword(_Body, frozen=True):
    old_password: Password
    password: Password


class SignedUp(msgspec.Struct, frozen=True):
    """Confirm the address with the code that was mailed to it."""

    id: str
    email: str


class Me(msgspec.Struct, frozen=True):
    id: str
    name: str
    email: str
    groups: list[str]


@post(
    "/signup",
    opt={
        **PUBLIC,
        **described(
            refuses=(*ANY_CALL, EmailTaken, WeakPassword, WrongCredentials),
            body=SignUp(examples.NAME, examples.EMAIL, examples.PASSWORD),
            answer=SignedUp(examples.USER_ID, examples.EMAIL),
            returns="The account is created. Confirm its email address, then log in.",
        ),
        **card_free("name", "email"),
    },
)
async def sign_up(data: JSONBody[SignUp], users: Users, attempts: Attempts) -> SignedUp:
    """Sign up.

    A confirmation code is mailed to the address.
    """
    email = normal(data.email)
    try:
        mail_address.for_mail(email)
    except mail_address.InvalidMailAddress:
        # Its own message quotes parts of the address.
        detail = "`email` must be an address that can receive mail."
        raise Invalid(detail, errors=[FieldError("email", detail)]) from None
    name = text.one_line(data.name, longest=LONGEST_NAME)
    async with attempts.of(SIGN_UP):
        user_id = await users.sign_up(name=name, email=email, password=data.password)
    return SignedUp(user_id, email)


@post(
    "/confirm",
    status_code=204,
    opt={
        **PUBLIC,
        **described(
            refuses=(*ANY_CALL, WrongCode, AlreadyConfirmed, EmailTaken),
            body=Confirmation(examples.EMAIL, _CODE),
            returns="The address is confirmed: log in.",
        ),
    },
)
async def confirm(data: JSONBody[Confirmation], users: Users, attempts: Attempts) -> None:
    """Confirm an email address.

    The code was mailed to it. After that, the user can log in.
    """
    email = normal(data.email)
    async with attempts.of(CODE, email):
        await users.confirm(email=email, code=data.code)


@post(
    "/resend-code",
    status_code=204,
    opt={
        **PUBLIC,
        **described(
            refuses=ANY_CALL,
            body=EmailAddress(examples.EMAIL),
            returns="A code is mailed if an account is waiting for one.",
        ),
    },
)
async def resend_code(data: JSONBody[EmailAddress], users: Users, attempts: Attempts) -> None:
    """Mail the confirmation code again.

    The answer does not tell whether there is such an account.
    """
    email = normal(data.email)
    async with attempts.of(MAILED_CODE, email):
        await users.resend_code(email=email)


@post(
    "/login",
    status_code=200,
    opt={
        **PUBLIC,
        **described(
            refuses=(
                *ANY_CALL,
                WrongCredentials,
                UserNotConfirmed,
                PasswordResetRequired,
                ChallengeRequired,
            ),
            body=LogIn(examples.EMAIL, examples.PASSWORD),
            answer=examples.TOKENS,
            returns="The tokens. Send the access token as `Authorization: Bearer …`.",
        ),
    },
)
async def log_in(data: JSONBody[LogIn], users: Users, attempts: Attempts) -> Tokens:
    """Log in.

    Send the access token of the answer as `Authorization: Bearer …`. It is valid for an hour.
    """
    email = normal(data.email)
    async with attempts.of(LOG_IN, email):
        return await users.log_in(email=email, password=data.password)


@post(
    "/refresh",
    status_code=200,
    opt={
        **PUBLIC,
        **described(
            refuses=(*ANY_CALL, InvalidRefreshToken, ChallengeRequired),
            body=RefreshToken(examples.REFRESH_TOKEN),
            answer=examples.TOKENS,
            returns="New tokens; the refresh token may be another one.",
        ),
    },
)
async def refresh(data: JSONBody[RefreshToken], users: Users) -> Tokens:
    """Get a new access token for a refresh token."""
    return await users.refresh(data.refresh_token)


@post(
    "/logout",
    status_code=204,
    opt={
        **PUBLIC,
        **described(
            refuses=(*ANY_CALL, InvalidRefreshToken),
            body=RefreshToken(examples.REFRESH_TOKEN),
            returns="The refresh token is revoked.",
        ),
    },
)
async def log_out(data: JSONBody[RefreshToken], users: Users) -> None:
    """Log out.

    The refresh token is revoked. Access tokens that it gave stay valid until they expire.
    """
    await users.log_out(data.refresh_token)


@post(
    "/forgot-password",
    status_code=204,
    opt={
        **PUBLIC,
        **described(
            refuses=ANY_CALL,
            body=EmailAddress(examples.EMAIL),
            returns="A code is mailed if there is such an account.",
        ),
    },
)
async def forgot_password(data: JSONBody[EmailAddress], users: Users, attempts: Attempts) -> None:
    """Ask for a new password.

    A code is mailed. The answer does not tell whether there is such an account.
    """
    email = normal(data.email)
    async with attempts.of(MAILED_CODE, email):
        await users.forgot_password(email=email)


@post(
    "/reset-password",
    status_code=204,
    opt={
        **PUBLIC,
        **described(
            refuses=(*ANY_CALL, WrongCode, WeakPassword, UserNotConfirmed),
            body=NewPassword(examples.EMAIL, _CODE, examples.PASSWORD),
            returns="The new password is set: log in.",
        ),
    },
)
async def reset_password(data: JSONBody[NewPassword], users: Users, attempts: Attempts) -> None:
    """Set a new password with the code that was mailed."""
    email = normal(data.email)
    async with attempts.of(CODE, email):
        await users.reset_password(email=email, code=data.code, password=data.password)


@get(
    "/me",
    opt=described(
        refuses=GETTING_USER,
        answer=Me(examples.USER_ID, examples.NAME, examples.EMAIL, []),
        returns="Who you are; administrators have the group `admin`.",
    ),
)
async def me(identity: SignedIn) -> Me:
    """Show who you are."""
    return await _shown(identity)


@patch(
    "/me",
    opt=described(
        refuses=GETTING_USER,
        body=AccountChanges(examples.NAME),
        answer=Me(examples.USER_ID, examples.NAME, examples.EMAIL, []),
        returns="Who you are now.",
    )
    | card_free("name"),
)
async def change_account(data: JSONBody[AccountChanges], identity: SignedIn, users: Users) -> Me:
    """Change your name.

    Orders that you have placed keep the name that they have. Elsewhere the new name may show only
    after the next log-in.
    """
    name = text.one_line(data.name, longest=LONGEST_NAME)
    await users.change_name(identity.access_token, name)
    identity.forget_profile()
    return await _shown(identity)


@post(
    "/change-password",
    status_code=204,
    opt=described(
        refuses=(*GETTING_USER, WrongPassword, WeakPassword),
        body=ChangedPassword(_OLD_PASSWORD, _NEW_PASSWORD),
        returns="The new password is set.",
    ),
)
async def change_password(
    data: JSONBody[ChangedPassword],
    identity: SignedIn,
    users: Users,
    attempts: Attempts,
    key: UnkeptKey = None,
) -> None:
    """Change your password.

    You stay logged in, here and elsewhere. If you have lost the answer, and a repeat is refused
    with 422 `wrong_password`, the password was changed: log in with the new one to make sure.
    """
    async with attempts.of(PASSWORD, identity.user_id):
        await users.change_password(identity.access_token, old=data.old_password, new=data.password)


async def _shown(identity: Identity) -> Me:
    profile = await identity.profile()
    return Me(identity.user_id, profile.name, profile.email, sorted(identity.groups))


def normal(email: str) -> str:
    """Addresses are compared as people read them: Cognito tells Ada@ from ada@."""
    return email.strip().lower()


router = Router(
    "/auth",
    route_handlers=[
        sign_up,
        confirm,
        resend_code,
        log_in,
        refresh,
        log_out,
        forgot_password,
        reset_password,
        me,
        change_account,
        change_password,
    ],
    tags=["auth"],
)
