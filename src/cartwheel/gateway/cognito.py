"""Amazon Cognito: where users, passwords and tokens live.

What users do themselves are unsigned operations (authorized by a password, a code or a token),
which need no AWS credentials. What administrators do is signed: see `directory`. botocore itself
reads AWS_ENDPOINT_URL, which may name an emulator.
"""

import asyncio
import base64
import hashlib
import hmac
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from botocore.exceptions import BotoCoreError, ClientError

from cartwheel.contracts import mail_address, text
from cartwheel.contracts.identity import EMAIL_MARK, LONGEST_NAME, email_mark
from cartwheel.gateway.identity import InvalidToken, Profile
from cartwheel.kernel.errors import (
    Conflict,
    FieldError,
    Forbidden,
    Invalid,
    Outage,
    Overloaded,
    Refusal,
    Throttled,
    TimedOut,
    Unauthenticated,
    Unavailable,
)

CALL_SECONDS = 5.0
"""Seconds for one call, including the wait for a connection."""
AT_ONCE = 32
WAITING = 256


class EmailTaken(Conflict):
    """An account with this email address exists.

    Log in, or set a new password.
    """

    code = "email_taken"


class AlreadyConfirmed(Conflict):
    """The account is confirmed already.

    Log in.
    """

    code = "already_confirmed"


class WrongCredentials(Unauthenticated):
    """The email address or the password is wrong.

    Correct them, or set a new password.
    """

    code = "wrong_credentials"


class InvalidRefreshToken(Unauthenticated):
    """The refresh token has expired, was revoked, or belongs to another client.

    Log in again.
    """

    code = "invalid_refresh_token"


class UserNotConfirmed(Forbidden):
    """The account's email address is not confirmed yet.

    Confirm it with the code that was mailed; `POST /auth/resend-code` mails it again.
    """

    code = "user_not_confirmed"


class PasswordResetRequired(Forbidden):
    """The user has to set a new password first.

    Ask for a code with `POST /auth/forgot-password`, and set one.
    """

    code = "password_reset_required"


class ChallengeRequired(Forbidden):
    """The user must do more than give a password (another factor, a new password).

    Do it with Cognito itself: this API does not offer it.
    """

    code = "challenge_required"


class WrongCode(Invalid):
    """The code is wrong or has expired.

    Check the code, or have a new one mailed.
    """

    code = "wrong_code"


class WrongPassword(Invalid):
    """The old password is wrong.

    Correct it, or log out and set a new one with a mailed code.
    """

    code = "wrong_password"


class WeakPassword(Invalid):
    """The password breaks the rules of the user pool.

    Choose one that keeps the rule in `errors`.
    """

    code = "weak_password"


ANY_CALL: tuple[type[Refusal | Outage], ...] = (Throttled, Unavailable, Overloaded, TimedOut)
"""What every call may raise, besides what it names."""

GETTING_USER = (*ANY_CALL, UserNotConfirmed, PasswordResetRequired)
"""What `Cognito.get_user` may raise; and InvalidToken."""


class Tokens(msgspec.Struct, frozen=True, kw_only=True):
    """Named as in RFC 6749, §5.1; `expires_in` is in seconds."""

    access_token: str
    id_token: str
    refresh_token: str
    expires_in: int
    token_type: str = "Bearer"  # noqa: S105 a kind, not a secret


class Cognito:
    """One user pool, through one app client. `mark_key` is for an emulator (see `email_mark`).

    Every call may raise, besides what it names:

    Throttled: too many attempts.
    Unavailable, Overloaded, TimedOut: Cognito is down, overloaded or too slow; or it rejects the
        app client itself, by its id or its secret.
    """

    def __init__(
        self, client: Any, client_id: str, client_secret: str | None, mark_key: str | None
    ) -> None:
        self._client = client
        self._client_id = client_id
        self._client_secret = client_secret
        self._mark_key = mark_key
        self._waiting = 0
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def sign_up(self, *, name: str, email: str, password: str) -> str:
        """Create an unconfirmed user, who is mailed a code; return the user's id.

        Raises: EmailTaken, WeakPassword, Invalid.
        """
        attributes = {"email": email, "name": name}
        if self._mark_key:
            # Nobody can log in before the address is confirmed, so it is safe to set the mark now.
            # Then no crash can come between confirming and marking.
            attributes[EMAIL_MARK] = email_mark(self._mark_key, email)
        answer = await self.call(
            "sign_up",
            **self._user(email),
            Password=password,
            UserAttributes=[{"Name": key, "Value": value} for key, value in attributes.items()],
        )
        return answer["UserSub"]

    async def confirm(self, *, email: str, code: str) -> None:
        """Raises: WrongCode (also for an unknown address), AlreadyConfirmed."""
        await self.call(
            "confirm_sign_up",
            # "User cannot be confirmed. Current status is CONFIRMED"
            {
                "NotAuthorizedException": AlreadyConfirmed(
                    "This account is already confirmed. Log in."
                )
            },
            **self._user(email),
            ConfirmationCode=code,
        )

    async def resend_code(self, *, email: str) -> None:
        """Mail the code again. Does not reveal whether the user exists."""
        await self._call_quietly("resend_confirmation_code", **self._user(email))

    async def log_in(self, *, email: str, password: str) -> Tokens:
        """Raises: WrongCredentials, UserNotConfirmed, PasswordResetRequired, ChallengeRequired."""
        parameters = {"USERNAME": email, "PASSWORD": password}
        if self._client_secret:
            parameters["SECRET_HASH"] = self._secret_hash(self._client_secret, email)
        answer = await self.call(
            "initiate_auth",
            {
                "UserNotFoundException": WrongCredentials(
                    "The email address or the password is wrong."
                )
            },
            ClientId=self._client_id,
            AuthFlow="USER_PASSWORD_AUTH",
            AuthParameters=parameters,
        )
        return _tokens(answer)

    async def refresh(self, refresh_token: str) -> Tokens:
        """Return new tokens, including a new refresh token if the pool rotates them.

        InitiateAuth would need a secret hash of the user's name in the pool, which the client does
        not know and AWS encrypts in the token.

        Raises: InvalidRefreshToken when it is unknown, expired, revoked or used up.
        """
        invalid = InvalidRefreshToken("The refresh token is no longer valid. Log in again.")
        answer = await self.call(
            "get_tokens_from_refresh_token",
            {
                "NotAuthorizedException": invalid,
                "RefreshTokenReuseException": invalid,
                "UserNotFoundException": invalid,
            },
            **self._app_client(),
            RefreshToken=refresh_token,
        )
        return _tokens(answer, refresh_token)

    async def log_out(self, refresh_token: str) -> None:
        """Revoke `refresh_token`. May be repeated. (GlobalSignOut would end other devices too.)"""
        invalid = InvalidRefreshToken("Send a refresh token that was issued to this client.")
        await self.call(
            "revoke_token",
            {"InvalidParameterException": invalid, "UnauthorizedException": invalid},
            **self._app_client(),
            Token=refresh_token,
        )

    async def forgot_password(self, *, email: str) -> None:
        """Mail a code. Does not reveal whether the user exists."""
        await self._call_quietly("forgot_password", **self._user(email))

    async def reset_password(self, *, email: str, code: str, password: str) -> None:
        """Raises: WrongCode (also for an unknown address), WeakPassword."""
        await self.call(
            "confirm_forgot_password",
            {"NotAuthorizedException": WrongCode(_WRONG_CODE)},
            **self._user(email),
            ConfirmationCode=code,
            Password=password,
        )

    async def change_password(self, access_token: str, *, old: str, new: str) -> None:
        """Set a new password. No session ends.

        Raises: WrongPassword, WeakPassword, InvalidToken.
        """
        await self.call(
            "change_password",
            {**_TOKEN_GONE, **_OLD_PASSWORD_WRONG},
            AccessToken=access_token,
            PreviousPassword=old,
            ProposedPassword=new,
        )

    async def change_name(self, access_token: str, name: str) -> None:
        """Raises: InvalidToken."""
        try:
            await self.call(
                "update_user_attributes",
                _TOKEN_GONE,
                AccessToken=access_token,
                UserAttributes=[{"Name": "name", "Value": name}],
            )
        except (WrongCode, EmailTaken):  # other attributes need a code or are unique
            raise Unavailable("Cognito cannot change a name") from None

    async def get_user(self, access_token: str) -> Profile:
        """Return who the token belongs to. A missing name becomes the address up to the @.

        Users may have changed both in Cognito itself, where our rules do not apply.

        Raises: InvalidToken when it is revoked or the user no longer exists.
        """
        answer = await self.call("get_user", _TOKEN_GONE, AccessToken=access_token)
        about = {entry["Name"]: entry["Value"] for entry in answer["UserAttributes"]}
        email = about.get("email", "")
        name = text.one_line(about.get("name", ""), longest=LONGEST_NAME)
        name = name or text.one_line(email.partition("@")[0], longest=LONGEST_NAME)
        return Profile(name=name, email=email, unfit=self._unfit(email, about))

    def _unfit(self, email: str, about: dict[str, str]) -> str | None:
        """Return why no mail may go to `email`, or None. `about` holds the user's attributes."""
        try:
            mail_address.for_mail(email)
        except mail_address.InvalidMailAddress:
            return "No mail can be sent to your account's address. Change it, then try again."
        if self._mark_key is None:
            verified = about.get("email_verified") == "true"
        else:
            mark = email_mark(self._mark_key, email).encode()
            shown = about.get(EMAIL_MARK, "").encode(errors="replace")
            verified = hmac.compare_digest(shown, mark)
        return (
            None
            if verified
            else "Your account's email address is not verified. Verify it, then try again."
        )

    def _user(self, email: str) -> dict[str, str]:
        """Return the parameters that name a user and authenticate this app client."""
        parameters = {"ClientId": self._client_id, "Username": email}
        if self._client_secret:
            parameters["SecretHash"] = self._secret_hash(self._client_secret, email)
        return parameters

    def _app_client(self) -> dict[str, str]:
        """Return the parameters for calls authorized by a token: they take the secret itself."""
        parameters = {"ClientId": self._client_id}
        if self._client_secret:
            parameters["ClientSecret"] = self._client_secret
        return parameters

    def _secret_hash(self, secret: str, username: str) -> str:
        """AWS, "Computing secret hash values": Base64(HMAC-SHA256(secret, name + client id))."""
        message = (username + self._client_id).encode()
        return base64.b64encode(hmac.digest(secret.encode(), message, hashlib.sha256)).decode()

    async def _call_quietly(self, operation: str, **arguments: Any) -> None:
        """Call, but do not reveal that the user is unknown, confirmed or disabled."""
        try:
            await self.call(operation, **arguments)
        except (Invalid, Unauthenticated, Forbidden):
            return

    async def call(
        self, operation: str, special: dict[str, Refusal] | None = None, /, **arguments: Any
    ) -> dict[str, Any]:
        """Call `operation`. AWS's errors become `special` refusals or the usual ones.

        `special` has refusals by the code of an error, or by its code and message.

        Errors are raised `from None`: botocore's hold the request, and so passwords.
        """
        if self._waiting >= WAITING:
            raise Overloaded("too many calls to Cognito are waiting")
        self._waiting += 1
        try:
            async with asyncio.timeout(CALL_SECONDS), self._slots:
                return await getattr(self._client, operation)(**arguments)
        except ClientError as error:
            raise _translate(error, special or {}) from None
        except TimeoutError:
            raise TimedOut("Cognito did not answer in time") from None
        except BotoCoreError as error:
            raise Unavailable(f"Cognito cannot be reached: {type(error).__name__}") from None
        finally:
            self._waiting -= 1


@asynccontextmanager
async def connect(
    *, region: str, client_id: str, client_secret: str | None = None, mark_key: str | None = None
) -> AsyncGenerator[Cognito]:
    """Yield a client. Opening it blocks for 200 ms, while botocore reads its models."""
    config = AioConfig(
        connect_timeout=CALL_SECONDS,
        read_timeout=CALL_SECONDS,
        max_pool_connections=AT_ONCE,
        # No retries: a repeated sign-up would be answered that the address is taken.
        retries={"total_max_attempts": 1},
    )
    session: Any = AioSession()
    async with session.create_client("cognito-idp", region_name=region, config=config) as client:
        yield Cognito(client, client_id, client_secret, mark_key)


_GONE = InvalidToken("The token was revoked, or its user no longer exists. Log in again.")
_TOKEN_GONE: dict[str, Refusal] = {
    "NotAuthorizedException": _GONE,
    "UserNotFoundException": _GONE,
}
_OLD_PASSWORD_WRONG: dict[str, Refusal] = {
    # Of a revoked token, Cognito says "Access Token has been revoked".
    "NotAuthorizedException: Incorrect username or password.": WrongPassword(
        "The old password is wrong.",
        errors=[FieldError("old_password", "`old_password` must be your password until now.")],
    )
}
_NEW_PASSWORD_REFUSED = ("InvalidPasswordException", "PasswordHistoryPolicyViolationException")
_WRONG_CODE = "The code is wrong or has expired. Check it, or request a new one."
_EMAIL_TAKEN = "This email address already has an account. Log in, or reset the password."
_TOO_MANY = Throttled("Too many attempts. Try again later.")
_USUAL: dict[str, Refusal] = {
    "UsernameExistsException": EmailTaken(_EMAIL_TAKEN),
    "AliasExistsException": EmailTaken(_EMAIL_TAKEN),
    "NotAuthorizedException": WrongCredentials("The email address or the password is wrong."),
    "UserNotFoundException": WrongCode(_WRONG_CODE),
    "UserNotConfirmedException": UserNotConfirmed(
        "Confirm the email address with the code that was mailed, then log in."
    ),
    "PasswordResetRequiredException": PasswordResetRequired(
        "The password must be reset. Ask for a code, set a new password, then log in."
    ),
    "CodeMismatchException": WrongCode(_WRONG_CODE),
    "ExpiredCodeException": WrongCode(_WRONG_CODE),
    "TooManyRequestsException": _TOO_MANY,
    "TooManyFailedAttemptsException": _TOO_MANY,
    "LimitExceededException": _TOO_MANY,
    "ThrottlingException": _TOO_MANY,
}


def _translate(error: ClientError, special: dict[str, Refusal]) -> Exception:
    response: Any = error.response
    code: str = response.get("Error", {}).get("Code", "")
    message: str = response.get("Error", {}).get("Message", "")
    if _is_about_client_secret(code, message):
        # The operator's mistake: the user's password and token may be fine.
        return Unavailable(f"Cognito refuses the app client; check COGNITO_CLIENT_SECRET ({code})")
    if refusal := special.get(f"{code}: {message}") or special.get(code) or _USUAL.get(code):
        return type(refusal)(refusal.detail, errors=refusal.errors)
    about_password = "password" in message.lower() and code == "InvalidParameterException"
    if code in _NEW_PASSWORD_REFUSED or about_password:
        rule = f" {message.rpartition('policy: ')[2]}." if "policy: " in message else ""
        detail = f"Choose another `password`.{rule}"
        return WeakPassword(detail, errors=[FieldError("password", detail)])
    if code == "InvalidParameterException":
        # Cognito's message may quote the input, and names its own parameters, not ours.
        return Invalid("Cognito does not accept this input. Check every field.")
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)
    return Unavailable(f"Cognito answered {status} {code}")


def _is_about_client_secret(code: str, message: str) -> bool:
    """Return whether Cognito rejects the app client's secret. Only its varying messages say so:

    "Unable to verify secret hash for client …", "SecretHash does not match for the client: …",
    "Client … is configured for secret but secret was not received", and so on. Quoted parts may be
    the user's own text.
    """
    refused = ("NotAuthorizedException", "UnauthorizedException", "InvalidParameterException")
    return code in refused and "secret" in re.sub("'.*'", "", message, flags=re.DOTALL).lower()


def _tokens(answer: dict[str, Any], refresh_token: str = "") -> Tokens:
    result = answer.get("AuthenticationResult")
    if not result:
        challenge = answer.get("ChallengeName", "more")
        raise ChallengeRequired(f"Cognito asks for {challenge}, which this API does not support.")
    return Tokens(
        access_token=result["AccessToken"],
        id_token=result["IdToken"],
        refresh_token=result.get("RefreshToken", refresh_token),
        expires_in=result["ExpiresIn"],
    )
