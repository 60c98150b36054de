"""Who is calling: Cognito access tokens, verified offline.

Every route requires a token unless it says `opt=PUBLIC`. Handlers that need the caller take
`identity: SignedIn`, and routes for administrators add `guards=[admin]`:

    @get("/me")
    async def me(identity: SignedIn) -> Me: ...

A verified token is cached until it expires. A logout revokes the refresh token; the access token
stays valid for the rest of its life (an hour by default). A password reset revokes nothing in
Cognito, neither on AWS nor in the emulator.
"""

import asyncio
import hashlib
import time
from typing import Any, Protocol

import jwt
import msgspec
from cachetools import TLRUCache
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler
from litestar.params import SkipValidation

from cartwheel.contracts.identity import Actor, User
from cartwheel.gateway.jwks import KeySet
from cartwheel.kernel.errors import Forbidden, Unauthenticated

PUBLIC = {"public": True}
VISITED = {"visited": True}
"""The option of a route that needs no token while the catalogue is public."""
ADMINS = "admin"
LEEWAY = 5.0
"""Tolerated clock difference in seconds."""
REMEMBERED = 20_000
"""Verified tokens in the cache; about 1 KB each."""
LONGEST_TOKEN = 8192
ANONYMOUS = "Send an access token in the header `Authorization: Bearer …`."

Connection = ASGIConnection[Any, Any, Any, Any]


class InvalidToken(Unauthenticated):
    """The access token is forged, expired, malformed or revoked, or it was issued for something
    else.

    Get a new access token with the refresh token, or log in again.
    """

    code = "invalid_token"


class EmailNotVerified(Forbidden):
    """The user's email address is not verified, or no mail can be sent to it.

    Verify the address, then order.
    """

    code = "email_not_verified"


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """What Cognito knows about a user. `unfit` says why no mail may go to `email`."""

    name: str
    email: str
    unfit: str | None = None


class Profiles(Protocol):
    """Looks up the name and email address, which an access token does not carry."""

    async def get_user(self, access_token: str) -> "Profile":
        """Raises InvalidToken, `Unavailable` or `TimedOut`."""
        ...


class _Claims(msgspec.Struct, frozen=True):
    sub: str
    exp: float
    client_id: str
    token_use: str
    groups: frozenset[str] = msgspec.field(default=frozenset(), name="cognito:groups")


class _Verified:
    """What is cached for a token: never the token itself."""

    __slots__ = ("claims", "profile")

    def __init__(self, claims: _Claims) -> None:
        self.claims = claims
        self.profile: asyncio.Task[Profile] | None = None


class Identity:
    """Somebody with a valid token."""

    __slots__ = ("_profiles", "_token", "_verified", "groups", "user_id")

    def __init__(self, verified: _Verified, token: str, profiles: Profiles) -> None:
        self.user_id = verified.claims.sub
        self.groups = verified.claims.groups
        self._verified = verified
        self._token = token
        self._profiles = profiles

    @property
    def admin(self) -> bool:
        return ADMINS in self.groups

    @property
    def actor(self) -> Actor:
        """Return the caller as services see it."""
        return Actor(user_id=self.user_id, admin=self.admin)

    @property
    def access_token(self) -> str:
        """The token itself, for what users do at Cognito with their own account."""
        return self._token

    def forget_profile(self) -> None:
        """Ask for name and mail address again when they are next needed: they have changed."""
        self._verified.profile = None

    async def customer(self) -> User:
        """Return the user as a customer, whom mail will reach.

        Raises:
            EmailNotVerified: mail might reach somebody else. The next call asks Cognito again.
            InvalidToken, Unavailable, TimedOut: as `profile`.
        """
        profile = await self.profile()
        if profile.unfit:
            raise EmailNotVerified(profile.unfit)
        return User(id=self.user_id, name=profile.name, email=profile.email)

    async def profile(self) -> Profile:
        """Return name and email address.

        Cognito is asked once per token, and its answer is cached as long as the token. An unfit
        address is not cached, since the user may correct it.

        Raises:
            InvalidToken: the token was revoked, or the user no longer exists.
            Unavailable, TimedOut: Cognito does not answer. The next call asks again.
        """
        task = self._verified.profile
        if task is None or (task.done() and not _worth_remembering(task)):
            task = asyncio.create_task(self._profiles.get_user(self._token))
            task.add_done_callback(_look_at)
            self._verified.profile = task
        # Shielded: others wait for the same answer.
        return await asyncio.shield(task)


SignedIn = NamedDependency[SkipValidation[Identity]]
"""The type of the `identity` argument."""


Visitor = NamedDependency[SkipValidation[Identity | None]]
"""The type of the `visitor` argument of a VISITED route: None without a token."""


class Verifier:
    """Verifies bearer tokens (RFC 6750); about 2 µs for a cached one.

    Checks what AWS requires ("Verifying JSON web tokens"): RS256 by one of the pool's keys, issuer,
    expiry, and that it is an access token for this client.
    """

    def __init__(
        self,
        keys: KeySet,
        profiles: Profiles,
        *,
        issuer: str,
        client_id: str,
        visitors: bool = True,
    ) -> None:
        self.visitors = visitors
        self._keys = keys
        self._profiles = profiles
        self._issuer = issuer
        self._client_id = client_id
        # Keyed by digest: a dump of this cache reveals no token.
        self._seen: TLRUCache[bytes, _Verified] = TLRUCache(
            REMEMBERED, ttu=lambda _key, seen, _now: seen.claims.exp, timer=time.time
        )

    async def guard(self, connection: Connection, handler: BaseRouteHandler) -> None:
        """Require a token, except on public routes and for OPTIONS, which only lists methods."""
        scope: Any = connection.scope
        if handler.opt.get("public") or scope["method"] == "OPTIONS":
            return
        if self.visitors and handler.opt.get("visited") and not _brings_token(scope["headers"]):
            scope["user"] = None
            return
        scope["user"] = await self.identify(scope["headers"])

    async def identify(self, headers: list[tuple[bytes, bytes]]) -> Identity:
        """Return who sent `headers`.

        Raises:
            Unauthenticated: there is no token.
            InvalidToken: the token is not valid here.
            Unavailable: no signing keys could be fetched yet.
        """
        token = _bearer_token([value for name, value in headers if name == b"authorization"])
        digest = hashlib.sha256(token).digest()
        verified: _Verified | None = self._seen.get(digest)
        if verified is None:
            verified = self._seen[digest] = await self._verify(token)
        return Identity(verified, token.decode(), self._profiles)

    async def _verify(self, token: bytes) -> _Verified:
        if len(token) > LONGEST_TOKEN:
            raise InvalidToken("The access token is too long. Log in again.")
        try:
            key = await self._keys.key(jwt.get_unverified_header(token)["kid"])
            if key is None:
                raise InvalidToken(
                    "The access token is not signed by this user pool. Log in again."
                )
            decoded = jwt.decode(
                token,
                key,
                algorithms=["RS256"],
                issuer=self._issuer,
                leeway=LEEWAY,
                options={"require": ["exp", "sub"], "verify_aud": False},
            )
            claims = msgspec.convert(decoded, _Claims)
        except jwt.ExpiredSignatureError:
            raise InvalidToken(
                "The access token has expired. Refresh it, or log in again."
            ) from None
        except (jwt.InvalidTokenError, msgspec.ValidationError, KeyError, ValueError):
            raise InvalidToken("The access token is not valid. Log in again.") from None
        # An id token is meant for the client. Accepting one would trust any client's.
        if claims.token_use != "access":  # noqa: S105
            raise InvalidToken(
                "This is not an access token. Send the `access_token` from the login."
            )
        if claims.client_id != self._client_id:
            raise InvalidToken("The access token was issued to another client. Log in again.")
        return _Verified(claims)


def admin(connection: Connection, _: BaseRouteHandler) -> None:
    """Guard of routes for administrators, after `Verifier.guard`."""
    scope: Any = connection.scope
    identity: Identity | None = scope.get("user")
    if identity is None:  # the guard before this one admits public routes and OPTIONS
        raise Unauthenticated(ANONYMOUS)
    if not identity.admin:
        raise Forbidden("Only an administrator may do this.")


def _brings_token(headers: list[tuple[bytes, bytes]]) -> bool:
    return any(name == b"authorization" for name, _ in headers)


def _bearer_token(authorization: list[bytes]) -> bytes:
    if not authorization:
        raise Unauthenticated(ANONYMOUS)
    scheme, _, token = authorization[0].partition(b" ")
    token = token.strip()
    if len(authorization) > 1 or scheme.lower() != b"bearer" or not token.isascii() or not token:
        raise InvalidToken("The Authorization header must be `Bearer`, a space and one token.")
    return token


def _worth_remembering(profile: asyncio.Task[Profile]) -> bool:
    return not (profile.cancelled() or profile.exception() or profile.result().unfit)


def _look_at(profile: asyncio.Task[Profile]) -> None:
    # If all callers were cancelled, nobody else retrieves the exception.
    if not profile.cancelled():
        profile.exception()
