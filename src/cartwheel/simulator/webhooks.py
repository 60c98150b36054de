"""Sending the outbox's webhooks: signed, concurrently, and repeated until they are accepted.

Like Stripe's, they are sent at least once and in no particular order:
https://docs.stripe.com/webhooks#automatic-retries
"""

import asyncio
import contextlib
import hashlib
import hmac
import random
import time
from functools import partial

import aiohttp

from cartwheel.kernel import backoff, log
from cartwheel.simulator import outbox
from cartwheel.simulator.group_commit import GroupCommit

CONCURRENCY = 8
ANSWER_WITHIN_SECONDS = 10.0
LONGEST_PAUSE_SECONDS = 3600.0
PAUSE_AFTER_REFUSAL = 60.0
GIVE_UP_AFTER = 3 * 86_400.0


def sign(secret: str, body: bytes, now: float) -> str:
    """Return the `Simulator-Signature` header, in Stripe's scheme.

    https://docs.stripe.com/webhooks#verify-manually
    """
    timestamp = str(int(now))
    digest = hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256)
    return f"t={timestamp},v1={digest.hexdigest()}"


def pause_before_retry(attempts: int, status: int | None, age: float) -> float | None:
    """Return the seconds until the next attempt, or `None` after three days to stop trying.

    The pauses are 1, 2, 4 … seconds, up to an hour. After a 4xx (a missing route or another secret)
    somebody has to change the configuration, so the pause is at least a minute.
    """
    if age > GIVE_UP_AFTER:
        return None
    pause = backoff(attempts + 1, first=1.0, longest=LONGEST_PAUSE_SECONDS)
    if status is not None and 400 <= status < 500:
        pause = max(pause, PAUSE_AFTER_REFUSAL)
    return pause


class Webhooks:
    """Delivers the outbox's webhooks to `url` for as long as `run` runs."""

    def __init__(self, ledger: GroupCommit, *, url: str, secret: str) -> None:
        self._ledger = ledger
        self._url = url
        self._secret = secret
        self._woken = asyncio.Event()
        self._in_flight: set[int] = set()

    def wake(self) -> None:
        """Read the outbox now, because a webhook was added."""
        self._woken.set()

    async def run(self) -> None:
        async with (
            aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=ANSWER_WITHIN_SECONDS),
                cookie_jar=aiohttp.DummyCookieJar(),
            ) as session,
            asyncio.TaskGroup() as deliveries,
        ):
            while True:
                self._woken.clear()
                pause = await self._start_due(session, deliveries)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._woken.wait()

    async def _start_due(
        self, session: aiohttp.ClientSession, deliveries: asyncio.TaskGroup
    ) -> float | None:
        """Start due deliveries, up to the limit; return the seconds until the next is due."""
        # Rows in flight are among the earliest until they are done. So a read of `CONCURRENCY`
        # rows is enough to fill every free place.
        rows = await self._ledger.do(partial(outbox.earliest, limit=CONCURRENCY))
        now = time.time()
        for row in rows:
            if row.id in self._in_flight or len(self._in_flight) >= CONCURRENCY:
                continue
            if row.due_at > now:
                return row.due_at - now
            self._in_flight.add(row.id)
            deliveries.create_task(self._deliver(session, row))
        return None

    async def _deliver(self, session: aiohttp.ClientSession, row: outbox.Pending) -> None:
        try:
            status = await self._post(session, row.body)
            now = time.time()
            if status is not None and 200 <= status < 300:
                await self._ledger.do(partial(outbox.delivered, webhook_id=row.id, now=now))
                return
            pause = pause_before_retry(row.attempts, status, now - row.created_at)
            # Jitter: webhooks that failed together must not be retried together.
            due = None if pause is None else now + pause * random.uniform(0.75, 1)  # noqa: S311  no secret
            await self._ledger.do(partial(outbox.failed, webhook_id=row.id, due_at=due))
            tell = log.error if due is None else log.info
            tell("webhook failed", webhook=row.id, attempt=row.attempts + 1, status=status, due=due)
        finally:
            self._in_flight.discard(row.id)
            self.wake()

    async def _post(self, session: aiohttp.ClientSession, body: bytes) -> int | None:
        """Return the status of the answer; `None` if there was no answer."""
        headers = {
            "Content-Type": "application/json",
            # Sign each attempt: the receiver refuses old timestamps as replays.
            "Simulator-Signature": sign(self._secret, body, time.time()),
        }
        try:
            async with session.post(
                self._url, data=body, headers=headers, allow_redirects=False
            ) as response:
                return response.status
        except (aiohttp.ClientError, TimeoutError):
            return None
