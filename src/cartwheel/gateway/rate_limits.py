"""How often somebody may ask. Who asks too often gets 429 `too_many_requests` with `Retry-After`.

Every request counts in this process, for its user or, without a token, for its address. What
attackers try again and again counts in MongoDB, for all gateways together: log-in, sign-up, codes
and payments. A route says so around what is tried:

    async with attempts.of(LOG_IN, email):
        return await users.log_in(...)

An attempt counts from its beginning, so that many at once are no way around the limit. If it turns
out well, it is given back. So only failures use up the limit, and customers who share an address do
not lock each other out. No limit is for an account alone: a stranger could use it up.

The headers are those of draft-ietf-httpapi-ratelimit-headers-10.
"""

import asyncio
import hashlib
import math
import time
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cache
from typing import Any

import msgspec
from limits import RateLimitItem, RateLimitItemPerSecond
from limits.aio.strategies import FixedWindowRateLimiter
from litestar.di import NamedDependency
from litestar.params import SkipValidation
from pymongo.errors import PyMongoError

from cartwheel.contracts.payments import CardTokenInvalid
from cartwheel.gateway.clients import subscriber
from cartwheel.gateway.cognito import WrongCode, WrongCredentials, WrongPassword
from cartwheel.gateway.windows import SharedWindows, Windows
from cartwheel.kernel import log
from cartwheel.kernel.errors import Refusal, Throttled

UNLIMITED = "unlimited"
"""The `opt` of routes whose requests do not count: probes, and the webhooks of providers."""

STORE_SECONDS = 2.0
"""Seconds that MongoDB gets to count. After that the request passes."""
STORE_PAUSE_SECONDS = 5.0
"""Seconds for which MongoDB is not asked after it failed, so that requests do not wait in vain."""

_STORE_FAILS = (PyMongoError, TimeoutError, OSError)

STATE = "rate_limits"
"""Where a request's scope keeps what its answer tells in headers."""
WAIT = "retry_after"
"""Where it keeps after how many seconds a client that was refused may try again."""

MINUTE, HOUR = 60, 3600


def limit_of(name: str, quota: int, seconds: int) -> RateLimitItem:
    return RateLimitItemPerSecond(quota, seconds, namespace=name)


REQUESTS = limit_of("requests", 6000, 60)
"""For a user, or for an address without a token, at one gateway."""


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """Of one thing that is tried.

    `account` is for an account at an address, as nobody has proved to be its owner yet. `user` is
    for who has a token, from wherever. `address` is for all attempts from an address. `failures`
    are the refusals that use it up; with None, every attempt does.
    """

    account: RateLimitItem | None = None
    user: RateLimitItem | None = None
    address: RateLimitItem
    failures: tuple[type[Refusal], ...] | None


LOG_IN = Limit(
    account=limit_of("log-in", 10, 5 * MINUTE),
    address=limit_of("log-in-address", 100, 5 * MINUTE),
    failures=(WrongCredentials,),
)
PASSWORD = Limit(
    user=limit_of("password", 10, 5 * MINUTE),
    address=limit_of("password-address", 100, 5 * MINUTE),
    failures=(WrongPassword,),
)
"""The old password, as somebody with a token enters it to set a new one."""
SIGN_UP = Limit(address=limit_of("sign-up-address", 60, HOUR), failures=None)
CODE = Limit(
    account=limit_of("code", 10, 5 * MINUTE),
    address=limit_of("code-address", 100, 5 * MINUTE),
    failures=(WrongCode,),
)
"""A code that was mailed, as somebody enters it."""
MAILED_CODE = Limit(
    account=limit_of("mailed-code", 5, HOUR),
    address=limit_of("mailed-code-address", 60, HOUR),
    failures=None,
)
"""A code that is to be mailed."""
PAYMENT = Limit(
    user=limit_of("payment", 20, 10 * MINUTE),
    address=limit_of("payment-address", 100, 10 * MINUTE),
    failures=(CardTokenInvalid,),
)
"""A declined card is a failure too: the route says so."""


class Attempt(msgspec.Struct):
    """`failed` is for what fails without a refusal."""

    failed: bool = False


class _Counted(msgspec.Struct):
    """What a request was counted under, and what is left there."""

    item: RateLimitItem
    key: str
    within: bool
    remaining: int
    ends_at: float


class RateLimits:
    """The limits of this process. Without `shared`, nothing is limited."""

    def __init__(self, shared: SharedWindows | None) -> None:
        self._here = Windows()
        self._shared = shared
        self._paused_until = 0.0
        self._giving_back: set[asyncio.Task[None]] = set()

    async def count(self, scope: Any) -> None:
        """Count a request.

        Raises:
            Throttled: there were too many.
        """
        if self._shared is None:
            return
        user = scope.get("user")
        key = user.user_id if user else _address(scope)
        await _count(self._here, REQUESTS, key, scope)

    @asynccontextmanager
    async def attempt(self, limit: Limit, who: str, scope: Any) -> AsyncGenerator[Attempt]:
        """Count an attempt of `who` while the body makes it, and give it back if it does not fail.

        Raises:
            Throttled: there were too many.
        """
        counted = await self._counted(_keys(limit, who, _address(scope)), scope)
        attempt = Attempt(failed=limit.failures is None)
        try:
            yield attempt
        except Refusal as refusal:
            attempt.failed |= isinstance(refusal, limit.failures or ())
            raise
        finally:
            if not attempt.failed:
                self._give_back(counted)

    async def _counted(
        self, keys: Iterable[tuple[RateLimitItem, str]], scope: Any
    ) -> list[_Counted]:
        """Return what the attempt was counted under.

        Raises:
            Throttled: there were too many; then it is counted nowhere.
        """
        counted: list[_Counted] = []
        if self._shared is None or self._is_paused():
            return counted
        try:
            async with asyncio.timeout(STORE_SECONDS):
                for item, key in keys:
                    counted.append(await _count(self._shared, item, key, scope))
        except Throttled:
            self._give_back(scope[STATE][-len(counted) - 1 :])
            raise
        except _STORE_FAILS as error:
            self._pause(error)
        return counted

    def _give_back(self, counted: Sequence[_Counted]) -> None:
        """Give back what was counted. Nobody waits for it: if this process dies first, the attempts
        count until their windows end."""
        if counted:
            for each in counted:
                each.remaining += each.within
            keys = [each.item.key_for(each.key) for each in counted]
            task = asyncio.create_task(self._given_back(keys))
            self._giving_back.add(task)
            task.add_done_callback(self._giving_back.discard)

    async def _given_back(self, keys: Sequence[str]) -> None:
        if self._shared is None or self._is_paused():
            return
        try:
            async with asyncio.timeout(STORE_SECONDS):
                await self._shared.give_back(keys)
        except _STORE_FAILS as error:
            self._pause(error)

    def _is_paused(self) -> bool:
        return time.monotonic() < self._paused_until

    def _pause(self, error: BaseException) -> None:
        if not self._is_paused():  # of the requests in hand, the first one says it for all
            log.warning("rate_limits_not_counted", reason=type(error).__name__)
        self._paused_until = time.monotonic() + STORE_PAUSE_SECONDS

    async def settled(self) -> None:
        """Return when nothing is being given back any more."""
        await asyncio.gather(*self._giving_back)


class AttemptsOf:
    """The limits as the handler of one request gets them."""

    def __init__(self, limits: RateLimits, scope: Any) -> None:
        self._limits = limits
        self._scope = scope

    def of(self, limit: Limit, who: str = "") -> AbstractAsyncContextManager[Attempt]:
        """See `RateLimits.attempt`."""
        return self._limits.attempt(limit, who, self._scope)


Attempts = NamedDependency[SkipValidation[AttemptsOf]]
"""The type of the `attempts` argument."""


def headers(scope: Any) -> list[tuple[bytes, bytes]]:
    """Return the headers that tell about the limits of a request."""
    counted: list[_Counted] | None = scope.get(STATE)
    if counted is None:
        return []
    now = time.time()
    policies = b", ".join(_policy(each.item) for each in counted)
    left = ", ".join(
        f'"{each.item.namespace}";r={each.remaining};t={_seconds(each, now)}' for each in counted
    )
    return [(b"ratelimit-policy", policies), (b"ratelimit", left.encode())]


@cache
def _policy(item: RateLimitItem) -> bytes:
    return f'"{item.namespace}";q={item.amount};w={item.get_expiry()}'.encode()


async def _count(windows: Windows, item: RateLimitItem, key: str, scope: Any) -> _Counted:
    """Count one more, and note in `scope` what the answer tells of it.

    Raises:
        Throttled: there were too many.
    """
    within = await FixedWindowRateLimiter(windows).hit(item, key)
    window = windows.seen(item.key_for(key))
    remaining = max(0, item.amount - window.count)
    counted = _Counted(item, key, within, remaining, window.ends_at)
    scope.setdefault(STATE, []).append(counted)
    if not within:
        seconds = scope[WAIT] = _seconds(counted, time.time())
        raise Throttled(f"You have sent too many requests. Try again in {seconds} s.")
    return counted


def _seconds(counted: _Counted, now: float) -> int:
    # Clocks differ, and nobody should come back before the window has ended by MongoDB's.
    return min(max(1, math.ceil(counted.ends_at - now)), counted.item.get_expiry())


def _keys(limit: Limit, who: str, address: str) -> list[tuple[RateLimitItem, str]]:
    keys: list[tuple[RateLimitItem, str]] = []
    if limit.account:
        keys.append((limit.account, _digest(who, address)))
    if limit.user:
        keys.append((limit.user, _digest(who)))
    return [*keys, (limit.address, _digest(address))]


def _digest(*parts: str) -> str:
    """Return what counts are kept under: no address of a customer is stored for it."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def _address(scope: Any) -> str:
    client = scope["client"]
    return subscriber(client[0]) if client else ""
