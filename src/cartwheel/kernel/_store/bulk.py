"""Several writes in one command: each is stored by a majority, rejected by itself, or unknown.

A primary that loses its majority still applies a command. It answers with a write concern error
beside a result that looks like success, but the next primary may never have received the writes.
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
    """The outcome of a sequence of writes, which are identified by their index.

    `faults` holds the failed writes (with a DuplicateKeyError if a unique index rejected it). Of
    the others, `matched` updates found their document, and `upserted` created one.
    """

    matched: int
    upserted: Collection[int]
    faults: Mapping[int, WriteError]


async def write_all(
    collection: AsyncCollection[Document],
    writes: Sequence[InsertOne[Document] | UpdateOne],
) -> Written:
    """Do all of `writes`, even if some fail. Return when a majority has them in its journal.

    The cause of a fault has then also reached a majority.

    Raises:
        OutcomeUnknown: a majority has not acknowledged. Each write may be stored, or lost, or
            rolled back later. May be repeated.
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
