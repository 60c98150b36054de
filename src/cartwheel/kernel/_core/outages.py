"""Is this error an outage (wait), contention (retry at once) or a bug (retry, then dead-letter)?

A bug lies in the message or in the code. An outage ends once a dependency is back, however long
that takes. Contention ends at once: others were changing the same documents. Adapters of other
technology raise an `Outage` themselves.
"""

import asyncio

from pymongo.errors import (
    BulkWriteError,
    ConfigurationError,
    ConnectionFailure,
    PyMongoError,
    WriteConcernError,
)

from cartwheel.kernel.errors import Contention, Outage

_OUTAGES = (
    Outage,
    ConnectionError,
    asyncio.TimeoutError,
    ConnectionFailure,  # server selection, network timeouts and a primary that stepped down too
    WriteConcernError,  # whatever its code: a majority has not acknowledged
)

LABELS = (
    "RetryableWriteError",
    "TransientTransactionError",
    "UnknownTransactionCommitResult",
    "NoWritesPerformed",
    "SystemOverloadedError",
)
"""Labels with which server and driver mark temporary errors. Source:
https://github.com/mongodb/specifications/blob/master/source/retryable-writes/retryable-writes.md"""

CODES = {
    6: "HostUnreachable",
    7: "HostNotFound",
    43: "CursorNotFound",  # the server restarted while a cursor was open
    50: "MaxTimeMSExpired",
    64: "WriteConcernFailed",
    89: "NetworkTimeout",
    91: "ShutdownInProgress",
    133: "FailedToSatisfyReadPreference",
    134: "ReadConcernMajorityNotAvailableYet",
    189: "PrimarySteppedDown",
    251: "NoSuchTransaction",  # it began on another primary, or has expired
    262: "ExceededTimeLimit",
    290: "TransactionExceededLifetimeLimitSeconds",
    9001: "SocketException",
    10058: "LegacyNotPrimary",
    10107: "NotWritablePrimary",
    11600: "InterruptedAtShutdown",
    11602: "InterruptedDueToReplStateChange",
    13435: "NotPrimaryNoSecondaryOk",
    13436: "NotPrimaryOrSecondary",
}
"""Servers that are down, changing roles or too slow. Source:
https://github.com/mongodb/mongo/blob/v6.0/src/mongo/base/error_codes.yml"""

CONTENTION_CODES = {24: "LockTimeout", 112: "WriteConflict"}

_STARTING = "Sessions are not supported"
"""The driver's message about a mongod that has started but not yet joined its replica set."""


def is_outage(error: BaseException) -> bool:
    """Return whether `error` is temporary, as an outage or contention is."""
    if isinstance(error, PyMongoError) and _passes(error):
        return True
    # A plain OSError is a connection that the driver has closed. Unreadable files raise subclasses.
    return isinstance(error, _OUTAGES) or type(error) is OSError


def is_contention(error: BaseException) -> bool:
    """Return whether `error` is contention: no dependency is down.

    What failed was certainly not done. Retry it after a short random pause; there is no reason to
    stop taking work.
    """
    if isinstance(error, Contention):
        return True
    return isinstance(error, PyMongoError) and bool(_codes(error) & CONTENTION_CODES.keys())


def _passes(error: PyMongoError) -> bool:
    if isinstance(error, ConfigurationError):
        return str(error).startswith(_STARTING)
    return (
        error.timeout
        or any(error.has_error_label(label) for label in LABELS)
        or bool(_codes(error) & (CODES.keys() | CONTENTION_CODES.keys()))
        or (isinstance(error, BulkWriteError) and bool(error.details["writeConcernErrors"]))
    )


def _codes(error: PyMongoError) -> set[int]:
    """Return the server's error codes in `error`; for a bulk write, those of its writes."""
    if isinstance(error, BulkWriteError):
        return {fault["code"] for fault in error.details["writeErrors"]}
    code = getattr(error, "code", None)
    return set() if code is None else {code}
