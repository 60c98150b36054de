"""The time, in UTC and to the millisecond: all that MongoDB keeps of it."""

from datetime import UTC, datetime


def utc_now() -> datetime:
    """Return the time: aware, UTC, in whole milliseconds."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)
