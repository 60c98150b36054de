"""The parameters of every list."""

from typing import Annotated

from litestar.params import QueryParameter

Limit = Annotated[
    int, QueryParameter(name="limit", ge=1, le=100, description="How many items at most")
]
Cursor = Annotated[
    str | None,
    QueryParameter(
        name="cursor", max_length=200, description="The `next_cursor` of the page before"
    ),
]
