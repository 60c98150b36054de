"""What is waited for, and what is somebody's fault."""

import pytest
from pymongo.errors import ConfigurationError, OperationFailure, ServerSelectionTimeoutError

from cartwheel.kernel.outages import is_outage


@pytest.mark.parametrize(
    "error",
    [
        ServerSelectionTimeoutError("no server"),
        OSError("connection closed"),
        ConnectionResetError(),
        TimeoutError(),
        ConfigurationError("Sessions are not supported by this MongoDB deployment"),
    ],
)
def test_a_part_that_is_away_is_waited_for(error: Exception) -> None:
    assert is_outage(error)


@pytest.mark.parametrize(
    "error",
    [
        ZeroDivisionError(),
        FileNotFoundError("mail.txt"),
        OperationFailure("no such command", 59),
        ConfigurationError("Unknown option"),
    ],
)
def test_a_fault_is_not(error: Exception) -> None:
    assert not is_outage(error)
