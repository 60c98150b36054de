"""What only the garbage collector finds: a collection stops everybody, so it should have little to
do."""

import gc
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def fewer_cycles_than(most: int) -> Generator[None]:
    """Check that the body leaves fewer than `most` objects that only the collector finds."""
    gc.collect()
    gc.disable()
    try:
        yield
        assert gc.collect() < most
    finally:
        gc.enable()
