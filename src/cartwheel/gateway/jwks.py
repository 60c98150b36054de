"""The public keys that tokens are signed with, fetched when needed and cached.

The key set (RFC 7517) is fetched for the first token, and again when a token names an unknown key,
since keys are rotated. It is also fetched hourly, so that a withdrawn key does not stay trusted.
Anybody can invent key ids, so fetches are rate-limited. During an outage of the endpoint, known
keys still work.
"""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import aiohttp
import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import RSAAlgorithm

from cartwheel.kernel import log
from cartwheel.kernel.errors import Unavailable

MAX_AGE = 3600.0
AFTER_SUCCESS = 10.0
AFTER_FAILURE = 1.0
FETCH_TIMEOUT = aiohttp.ClientTimeout(total=5)


class KeySet:
    """The keys at `url`. Fetches are at least `after_success` or `after_failure` seconds apart."""

    def __init__(
        self,
        url: str,
        http: aiohttp.ClientSession,
        *,
        after_success: float = AFTER_SUCCESS,
        after_failure: float = AFTER_FAILURE,
    ) -> None:
        self._url = url
        self._http = http
        self._after_success = after_success
        self._after_failure = after_failure
        self._keys: Mapping[str, RSAPublicKey] = {}
        self._stale_at = 0.0
        self._not_before = 0.0
        self._fetching: asyncio.Task[None] | None = None

    async def key(self, kid: str) -> RSAPublicKey | None:
        """Return the key with the id `kid`, or None if there is none.

        Raises:
            Unavailable: no keys are known, and the endpoint does not answer.
        """
        known = self._keys.get(kid)
        if known is None:
            if fetching := self._fetch():
                # Shielded: many requests wait for one fetch, and the first may be cancelled.
                await asyncio.shield(fetching)
            if not self._keys:
                raise Unavailable("no signing keys could be fetched yet")
            return self._keys.get(kid)
        if time.monotonic() > self._stale_at:
            self._fetch()
        return known

    def _fetch(self) -> asyncio.Task[None] | None:
        """Start a fetch or join the current one. None if the last one is too recent."""
        if self._fetching is None and time.monotonic() >= self._not_before:
            self._fetching = asyncio.create_task(self._refresh())
        return self._fetching

    async def _refresh(self) -> None:
        wait = self._after_failure
        try:
            async with self._http.get(self._url, timeout=FETCH_TIMEOUT) as response:
                response.raise_for_status()
                document = await response.json(content_type=None)
            self._keys = _rsa_keys(document)
            self._stale_at = time.monotonic() + MAX_AGE
            wait = self._after_success
        except Exception as error:
            # Whatever came instead of keys, the old keys are better than none.
            log.warning("jwks_not_fetched", url=self._url, error=repr(error))
        finally:
            self._not_before = time.monotonic() + wait
            self._fetching = None


def _rsa_keys(document: Any) -> dict[str, RSAPublicKey]:
    keys: dict[str, RSAPublicKey] = {}
    for entry in document["keys"]:
        if entry.get("kty") != "RSA" or entry.get("use", "sig") != "sig":
            continue
        key = RSAAlgorithm.from_jwk(entry)
        if isinstance(key, RSAPublicKey):
            keys[entry["kid"]] = key
    if not keys:
        raise jwt.InvalidKeyError("the key set has no RSA signing key")
    return keys
