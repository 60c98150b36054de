"""What is waited for, what is tried again at once, and what is somebody's fault."""

from typing import Any

import pytest
from pymongo.errors import (
    BulkWriteError,
    ConfigurationError,
    DuplicateKeyError,
    ExecutionTimeout,
    NotPrimaryError,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WaitQueueTimeoutError,
    WriteConcernError,
    WriteError,
    WTimeoutError,
)

from cartwheel.kernel._core.outages import is_contention, is_outage
from cartwheel.kernel.errors import Contention, OutcomeUnknown


def bulk(
    *, faults: tuple[int, ...] = (), concerns: tuple[int, ...] = (), labels: tuple[str, ...] = ()
) -> BulkWriteError:
    """Return the driver's error for a bulk of which one command failed so."""
    return BulkWriteError(
        {
            "writeErrors": [{"index": 0, "code": code, "errmsg": "no"} for code in faults],
            "writeConcernErrors": [{"code": code, "errmsg": "no"} for code in concerns],
            "errorLabels": list(labels),
        }
    )


@pytest.mark.parametrize(
    "error",
    [
        ServerSelectionTimeoutError("no server"),
        NotPrimaryError("stepped down"),
        WaitQueueTimeoutError("pool exhausted"),
        ExecutionTimeout("operation exceeded time limit", 50),
        WTimeoutError("waiting for replication timed out", 64),
        OSError("connection closed"),
        ConnectionResetError(),
        TimeoutError(),
        ConfigurationError("Sessions are not supported by this MongoDB deployment"),
        OutcomeUnknown("no majority has said yes"),
    ],
)
def test_a_dependency_that_is_down_is_an_outage(error: Exception) -> None:
    assert is_outage(error)
    assert not is_contention(error)


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (6, "HostUnreachable"),
        (7, "HostNotFound"),
        (43, "CursorNotFound"),
        (50, "MaxTimeMSExpired"),
        (64, "WriteConcernFailed"),
        (89, "NetworkTimeout"),
        (91, "ShutdownInProgress"),
        (133, "FailedToSatisfyReadPreference"),
        (134, "ReadConcernMajorityNotAvailableYet"),
        (189, "PrimarySteppedDown"),
        (251, "NoSuchTransaction"),
        (262, "ExceededTimeLimit"),
        (290, "TransactionExceededLifetimeLimitSeconds"),
        (9001, "SocketException"),
        (10058, "LegacyNotPrimary"),
        (10107, "NotWritablePrimary"),
        (11600, "InterruptedAtShutdown"),
        (11602, "InterruptedDueToReplStateChange"),
        (13435, "NotPrimaryNoSecondaryOk"),
        (13436, "NotPrimaryOrSecondary"),
    ],
)
def test_a_server_that_is_down_or_changes_its_role_is_an_outage(code: int, name: str) -> None:
    for error in (OperationFailure(name, code), WriteError(name, code), bulk(faults=(code,))):
        assert is_outage(error)
        assert not is_contention(error)


@pytest.mark.parametrize(
    "label",
    [
        "RetryableWriteError",
        "TransientTransactionError",
        "UnknownTransactionCommitResult",
        "NoWritesPerformed",
        "SystemOverloadedError",
    ],
)
def test_an_error_that_the_driver_labels_as_temporary_is_an_outage(label: str) -> None:
    labeled: dict[str, Any] = {"errorLabels": [label]}
    for error in (
        PyMongoError("no", error_labels=[label]),
        OperationFailure("a code of its own", 4242, labeled),
        bulk(faults=(4242,), labels=(label,)),
    ):
        assert is_outage(error)
        assert not is_contention(error)


@pytest.mark.parametrize("code", [11602, 64, 189, 79])
def test_a_write_that_no_majority_acknowledged_is_an_outage(code: int) -> None:
    for error in (
        WriteConcernError("no", code),
        bulk(concerns=(code,)),
        bulk(concerns=(code,), faults=(11000,)),
    ):
        assert is_outage(error)
        assert not is_contention(error)


@pytest.mark.parametrize("code", [112, 24])
def test_a_conflict_with_other_writes_is_contention(code: int) -> None:
    labeled: dict[str, Any] = {"errorLabels": ["TransientTransactionError"]}
    for error in (
        OperationFailure("conflict", code),
        OperationFailure("conflict", code, labeled),
        bulk(faults=(code,)),
        Contention("conflicts until the deadline"),
    ):
        assert is_outage(error)
        assert is_contention(error)


@pytest.mark.parametrize(
    "error",
    [
        ZeroDivisionError(),
        FileNotFoundError("mail.txt"),
        OperationFailure("no such command", 59),
        ConfigurationError("Unknown option"),
        DuplicateKeyError("taken", 11000),
        bulk(faults=(11000,)),
        bulk(faults=(121,)),
    ],
)
def test_a_bug_is_not_an_outage(error: Exception) -> None:
    assert not is_outage(error)
    assert not is_contention(error)
