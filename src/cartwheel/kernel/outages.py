"""Tells a part that is away from a message or a line of code that is at fault.

What is at fault is retried and then parked; what waits for a part simply waits, however long.
Adapters of other technology raise an `Outage` themselves.
"""

import asyncio

import aiormq.exceptions
from pymongo.errors import (
    ConnectionFailure,
    ExecutionTimeout,
    PyMongoError,
    WaitQueueTimeoutError,
    WTimeoutError,
)

from cartwheel.kernel.errors import Outage

_AWAY = (
    Outage,
    ConnectionError,
    asyncio.TimeoutError,
    aiormq.exceptions.AMQPConnectionError,
    aiormq.exceptions.ChannelInvalidStateError,
    ConnectionFailure,  # server selection, network timeouts and a primary that stepped down too
    ExecutionTimeout,
    WaitQueueTimeoutError,
    WTimeoutError,
)


def is_outage(error: BaseException) -> bool:
    """Return whether `error` passes by itself once a part is back."""
    if isinstance(error, PyMongoError) and error.timeout:
        return True
    return isinstance(error, _AWAY)
