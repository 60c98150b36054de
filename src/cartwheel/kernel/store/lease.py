"""One active copy of something among many processes.

The holder renews; when it dies, another takes over once the lease has run out. Times are the
database server's (`$$NOW`), so that no process's clock matters. A holder that was frozen may
believe in its lease a little too long: what it guards must bear two at once (the relay may publish
twice, which consumers expect).
"""

from pymongo.errors import DuplicateKeyError

from cartwheel.kernel.store.client import Database

LENGTH = 10.0
"""Seconds from the last renewal until another process may take over."""


async def take(database: Database, name: str, holder: str) -> bool:
    """Take or renew the lease `name` for `holder`; return whether `holder` has it now."""
    try:
        await database["leases"].update_one(
            {
                "_id": name,
                "$or": [{"holder": holder}, {"$expr": {"$lt": ["$until", "$$NOW"]}}],
            },
            [{"$set": {"holder": holder, "until": {"$add": ["$$NOW", int(LENGTH * 1000)]}}}],
            upsert=True,
        )
    except DuplicateKeyError:  # somebody else's, and not run out: the upsert collides with it
        return False
    return True


async def drop(database: Database, name: str, holder: str) -> None:
    """Give the lease up, so that another process need not wait."""
    await database["leases"].delete_one({"_id": name, "holder": holder})
