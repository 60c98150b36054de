"""The errors that end a benchmark with a sentence instead of a traceback. Nothing is stored."""

import aiohttp

from bench import growth
from bench.buying import CannotBuy
from bench.counts import CannotCount
from bench.floors.measure import FloorFailed
from bench.load import LoadFailed
from bench.scenarios import WentWrong
from cartwheel.local import packages
from cartwheel.local.supervisor import CannotStart

FAILURES = (
    WentWrong,
    LoadFailed,
    FloorFailed,
    CannotBuy,
    CannotCount,
    growth.WentWrong,
    CannotStart,
    packages.Missing,
    TimeoutError,
    aiohttp.ClientError,
)


def sentence(failure: BaseException) -> str:
    return str(failure) or "the system did not come to rest in time"
