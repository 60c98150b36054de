"""The pause before a retry."""


def backoff(failures: int, *, first: float, longest: float) -> float:
    """Return the pause after `failures` failures in a row: `first`, then doubled each time.

        await asyncio.sleep(backoff(failures, first=0.5, longest=60))  # 0.5, 1, 2, 4 … 60 s

    Args:
        failures: 1 after the first failure.
        first, longest: in the unit of the result.
    """
    return min(first * 2.0 ** min(max(failures - 1, 0), 30), longest)
