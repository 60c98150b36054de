"""Several writes in one command; each is stored by a majority, refused on its own, or unknown.

A primary that loses its majority has applied a command, and answers a write concern error beside a
result that looks like success. Another primary may never have heard of it.
Source: https://www.mongodb.com/docs/manual/reference/write-concern/
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec
from pymongo import InsertOne, UpdateOne
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import BulkWriteError, DuplicateKeyError, WriteError

from cartwheel.kernel._store.client import Document
from cartwheel.kernel.errors import OutcomeUnknown

_DUPLICATE_KEY = 11000


class Written(msgspec.Struct, frozen=True):
    """What became of a sequence of writes, which are named by their places in it.

    `faults` are those that were not done, each for a reason of its own (a DuplicateKeyError where
    a unique index kept it out). Of the others `matched` updates found their document, and
    `upserted` made one.
    """

    matched: int
    upserted: Collection[int]
    faults: Mapping[int, WriteError]


async def write_all(
    collection: AsyncCollection[Document],
    writes: Sequence[InsertOne[Document] | UpdateOne],
) -> Written:
    """Do all of `writes`, whichever of them fail; return when a majority has them in its journal.

    A fault, too, is returned when a majority has what caused it.

    Raises:
        OutcomeUnknown: a majority has not said yes. Each of them may be stored, or not, or for a
            moment only. May be repeated.
    """
    try:
        result = await collection.bulk_write(writes, ordered=False)
    except BulkWriteError as error:
        found = error.details
        if found["writeConcernErrors"]:
            raise OutcomeUnknown(f"no majority has said yes: {error}") from error
        return Written(
            matched=found["nMatched"],
            upserted={each["index"] for each in found["upserted"]},
            faults={fault["index"]: _as_error(fault) for fault in found["writeErrors"]},
        )
    return Written(result.matched_count, (result.upserted_ids or {}).keys(), {})


def _as_error(fault: dict[str, Any]) -> WriteError:
    kind = DuplicateKeyError if fault["code"] == _DUPLICATE_KEY else WriteError
    return kind(fault["errmsg"], fault["code"], fault)
