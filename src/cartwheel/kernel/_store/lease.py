"""One active copy of something among many processes.

The holder renews; when it dies, another takes over once the lease has run out. Times are the
database server's (`$$NOW`), so that no process's clock matters. A holder that was frozen may
believe in its lease a little too long: what it guards must bear two at once (the relay may publish
twice, which consumers expect).
"""

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from cartwheel.kernel._store.client import Database, Document

LEASE_SECONDS = 10.0
"""Seconds from the last renewal until another process may take over."""


async def take(database: Database, name: str, holder: str) -> bool:
    """Take or renew the lease `name` for `holder`; return whether `holder` has it now."""
    free = {"$or": [{"$eq": ["$holder", holder]}, {"$lt": ["$until", "$$NOW"]}]}
    renewed = {"$add": ["$$NOW", int(LEASE_SECONDS * 1000)]}
    try:
        lease: Document | None = await database["leases"].find_one_and_update(
            {"_id": name},
            [
                {
                    "$set": {
                        "holder": {"$cond": [free, holder, "$holder"]},
                        "until": {"$cond": [free, renewed, "$until"]},
                    }
                }
            ],
            upsert=True,
            return_document=ReturnDocument.AFTER,
        )
    except DuplicateKeyError:  # somebody else made it at this moment
        return False
    return lease is not None and lease["holder"] == holder


async def drop(database: Database, name: str, holder: str) -> None:
    """Give the lease up, so that another process need not wait."""
    await database["leases"].delete_one({"_id": name, "holder": holder})
