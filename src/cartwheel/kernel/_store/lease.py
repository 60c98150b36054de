"""A lease: one active holder among many processes.

The holder renews its lease. If it dies, another process takes over when the lease expires. Times
are the database server's (`$$NOW`), so no process's clock matters. A frozen holder may keep working
for a moment after its lease has expired, so the work must tolerate two holders. (The relay may
publish twice, which consumers expect.)
"""

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from cartwheel.kernel._store.client import Database, Document

LEASE_SECONDS = 10.0
"""Seconds from the last renewal until another process may take over."""


async def take(database: Database, name: str, holder: str) -> bool:
    """Acquire or renew the lease `name` for `holder`; return whether `holder` now has it."""
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
    except DuplicateKeyError:  # another process has just created it
        return False
    return lease is not None and lease["holder"] == holder


async def drop(database: Database, name: str, holder: str) -> None:
    """Release the lease, so that another process need not wait for its expiry."""
    await database["leases"].delete_one({"_id": name, "holder": holder})
