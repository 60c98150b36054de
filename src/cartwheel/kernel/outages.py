"""Tells a part that is away from a message or a line of code that is at fault.

What is at fault is retried and then parked; what waits for a part simply waits, however long.
Adapters of other technology raise an `Outage` themselves.
"""

import asyncio

import aiormq.exceptions
from pymongo.errors import (
    ConfigurationError,
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


_STARTING = "Sessions are not supported"
"""What the driver says of a mongod that has been started and is not yet a member of its set."""


def is_outage(error: BaseException) -> bool:
    """Return whether `error` passes by itself once a part is back."""
    if isinstance(error, PyMongoError) and error.timeout:
        return True
    if isinstance(error, ConfigurationError):
        return str(error).startswith(_STARTING)
    # A plain OSError is a connection that the driver has closed; files that cannot be read have
    # classes of their own.
    return isinstance(error, _AWAY) or type(error) is OSError
