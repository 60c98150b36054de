"""Checks for reference cycles: a garbage collection stops everything, so it should find little."""

import gc
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def fewer_cycles_than(most: int) -> Generator[None]:
    """Check that the body leaves fewer than `most` objects in reference cycles."""
    gc.collect()
    gc.disable()
    try:
        yield
        assert gc.collect() < most
    finally:
        gc.enable()
