"""How long to wait before something that has failed is tried again."""


def backoff(failures: int, *, first: float, longest: float) -> float:
    """Return the pause after so many failures in a row: `first`, then twice as long each time.

        await asyncio.sleep(backoff(failures, first=0.5, longest=60))  # 0.5, 1, 2, 4 … 60 s

    Args:
        failures: 1 after the first one.
        first, longest: in whichever unit the result is to be.
    """
    return min(first * 2.0 ** min(max(failures - 1, 0), 30), longest)
