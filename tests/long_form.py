"""Marks long tests, which run only with LONG=1."""

import os

import pytest

long_form = pytest.mark.skipif(
    not os.environ.get("LONG"), reason="takes long: `make chaos` runs it, or LONG=1"
)
