"""The time, in UTC and whole milliseconds: MongoDB stores no more."""

from datetime import UTC, datetime


def utc_now() -> datetime:
    """Return the current time: aware, in UTC, in whole milliseconds."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)
