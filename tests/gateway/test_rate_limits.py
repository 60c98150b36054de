"""How requests are counted. `tests/journeys/test_rate_limits.py` has what customers meet."""

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from pymongo.read_concern import ReadConcern
from structlog.typing import EventDict

from cartwheel.gateway import rate_limits, windows
from cartwheel.gateway.cognito import Cognito, WrongCode, WrongCredentials
from cartwheel.gateway.identity import Verifier
from cartwheel.gateway.rate_limits import CODE, LOG_IN, MAILED_CODE, RateLimits
from cartwheel.gateway.windows import COLLECTION, MIGRATIONS, SharedWindows
from cartwheel.kernel import mongodb
from cartwheel.kernel.errors import Throttled
from cartwheel.kernel.mongodb import Database, Document
from cartwheel.local import ports

from ..logs import logged_by
from .conftest import probe_app, running
from .issuer import Issuer


def scope(address: str = "192.0.2.1") -> Any:
    return {"client": (address, 5000)}


@pytest.fixture
async def limits(database: Database, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[RateLimits]:
    monkeypatch.setattr(rate_limits, "STORE_SECONDS", 30)
    logged: list[EventDict] = logged_by(monkeypatch, "gateway.rate_limits")
    limits = RateLimits(SharedWindows(database))
    yield limits
    await limits.settled()
    assert not logged


@pytest.fixture
async def limits_without_store() -> AsyncGenerator[RateLimits]:
    nowhere = f"mongodb://127.0.0.1:{ports.find_free()}/?replicaSet=none"
    async with mongodb.connect(nowhere, process="tests", timeout=0.2) as client:
        yield RateLimits(SharedWindows(mongodb.database(client, "gateway")))


async def stored_in(database: Database) -> list[Document]:
    # The counts are written without a majority, which reads of the services wait for.
    collection = database.get_collection(COLLECTION, read_concern=ReadConcern("local"))
    return await collection.find().to_list()


async def fail_to_log_in(limits: RateLimits, who: str, address: str) -> bool:
    """Return whether the password was compared."""
    try:
        async with limits.attempt(LOG_IN, who, scope(address)):
            raise WrongCredentials("wrong")
    except WrongCredentials:
        return True
    except Throttled:
        return False


async def test_of_sixty_failures_at_once_ten_are_tried(limits: RateLimits) -> None:
    tried = await asyncio.gather(
        *(fail_to_log_in(limits, "ada@example.com", "192.0.2.1") for _ in range(60))
    )
    assert tried.count(True) == 10


async def test_an_account_that_is_guessed_at_from_one_address_is_open_from_others(
    limits: RateLimits,
) -> None:
    for _ in range(11):
        await fail_to_log_in(limits, "ada@example.com", "2001:db8::1")

    assert not await fail_to_log_in(limits, "ada@example.com", "2001:db8::2")
    assert await fail_to_log_in(limits, "ada@example.com", "2001:db8:0:1::1")
    assert await fail_to_log_in(limits, "grace@example.com", "2001:db8::1")


async def test_an_address_has_a_hundred_failures_for_all_accounts(limits: RateLimits) -> None:
    tried = [await fail_to_log_in(limits, f"{n}@example.com", "192.0.2.1") for n in range(102)]
    assert tried == [*[True] * 100, False, False]
    assert await fail_to_log_in(limits, "0@example.com", "192.0.2.2")


async def test_what_turns_out_well_is_given_back(limits: RateLimits) -> None:
    request = scope()
    for _ in range(12):
        request = scope()
        async with limits.attempt(LOG_IN, "ada@example.com", request):
            pass
        await limits.settled()
    assert dict(rate_limits.headers(request))[b"ratelimit"].startswith(b'"log-in";r=10;t=')


async def test_an_outage_is_given_back_too(limits: RateLimits) -> None:
    for _ in range(12):
        with pytest.raises(OSError, match="away"):
            async with limits.attempt(CODE, "ada@example.com", scope()):
                raise OSError("away")
        await limits.settled()


async def test_what_is_refused_uses_up_nothing_of_the_address(
    limits: RateLimits, database: Database
) -> None:
    for _ in range(13):
        await fail_to_log_in(limits, "ada@example.com", "192.0.2.1")
    await limits.settled()

    counts = [each["count"] for each in await stored_in(database)]
    assert counts == [10, 10]


async def test_every_mailed_code_counts_whatever_becomes_of_it(limits: RateLimits) -> None:
    for _ in range(5):
        async with limits.attempt(MAILED_CODE, "ada@example.com", scope()):
            pass
    with pytest.raises(Throttled):
        async with limits.attempt(MAILED_CODE, "ada@example.com", scope()):
            pytest.fail("it was mailed")


async def test_a_window_that_has_ended_counts_no_longer(
    limits: RateLimits, database: Database
) -> None:
    with pytest.raises(WrongCode):
        async with limits.attempt(CODE, "ada@example.com", scope()):
            raise WrongCode("wrong")
    # As if five minutes had passed, and MongoDB had not deleted it yet.
    ended = [{"$set": {"expires_at": {"$subtract": ["$$NOW", 1]}, "count": 10}}]
    await database[COLLECTION].update_many({}, ended)

    with pytest.raises(WrongCode):
        async with limits.attempt(CODE, "ada@example.com", scope()):
            raise WrongCode("wrong")

    counts = [each["count"] for each in await stored_in(database)]
    assert counts == [1, 1]


async def test_no_address_is_stored_and_all_is_deleted_in_time(
    limits: RateLimits, database: Database
) -> None:
    for migrate in MIGRATIONS:
        await migrate(database)
    await fail_to_log_in(limits, "ada@example.com", "192.0.2.1")

    stored = [str(each) for each in await stored_in(database)]
    indexes = await database[COLLECTION].index_information()

    assert len(stored) == 2
    assert not any("ada" in each or "192.0.2.1" in each for each in stored)
    assert indexes["expired"]["expireAfterSeconds"] == 0


async def test_without_the_store_requests_pass_and_one_line_is_logged(
    limits_without_store: RateLimits, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: list[EventDict] = logged_by(monkeypatch, "gateway.rate_limits")
    began = time.monotonic()

    for _ in range(3):
        tried = await asyncio.gather(
            *(fail_to_log_in(limits_without_store, "ada@example.com", "192.0.2.1") for _ in "1" * 9)
        )
        assert all(tried)

    assert [line["event"] for line in logged] == ["rate_limits_not_counted"]
    assert time.monotonic() - began < rate_limits.STORE_PAUSE_SECONDS


async def test_requests_count_for_their_user_or_their_address(
    verifier: tuple[Verifier, Cognito],
    issuer: Issuer,
    limits: RateLimits,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rate_limits, "REQUESTS", rate_limits.limit_of("requests", 3, 60))
    list_, whoami = "/api/v1/probe/list", "/api/v1/probe/whoami"
    ada, grace = issuer.token(sub="ada"), issuer.token(sub="grace")

    async with running(probe_app(*verifier, limits=limits)) as gateway:
        statuses = [(await gateway.get(whoami, ada)).status for _ in range(4)]
        refused = await gateway.get(whoami, ada)
        others = [(await gateway.get(whoami, grace)).status for _ in range(3)]
        unknown = [(await gateway.get(whoami, "x.y.z")).status for _ in range(2)]
        public = [await gateway.get(list_) for _ in range(2)]
        probes = [(await gateway.get("/health/live")).status for _ in range(5)]

    assert statuses == [200, 200, 200, 429]
    assert refused.problem["code"] == "too_many_requests"
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert refused.headers["RateLimit-Policy"] == '"requests";q=3;w=60'
    assert others == [200, 200, 200]
    assert unknown == [401, 401]
    assert [each.status for each in public] == [200, 429]
    assert public[0].headers["RateLimit"].startswith('"requests";r=0;t=')
    assert probes == [200] * 5


async def test_turned_off_nothing_is_counted(verifier: tuple[Verifier, Cognito]) -> None:
    async with running(probe_app(*verifier)) as gateway:
        reply = await gateway.get("/api/v1/probe/list")
    assert "RateLimit" not in reply.headers


async def test_a_process_forgets_the_windows_that_nobody_uses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(windows, "KEPT", 2)
    counted = windows.Windows()
    for key in "abac":
        await counted.incr(key, 60)
    assert [await counted.get(key) for key in "abc"] == [2, 0, 1]
