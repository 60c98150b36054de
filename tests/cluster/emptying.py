"""Deletes what a shop has stored on a cluster's nodes, so that the next test can use the nodes."""

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
from pymongo import AsyncMongoClient
from yarl import URL

from cartwheel.local.cluster import brokers, haproxy
from cartwheel.local.cluster.running import Cluster
from cartwheel.local.processes import PROCESSES

_MONGODBS_OWN = ("admin", "config", "local")
_PERMISSIONS = {"configure": ".*", "write": ".*", "read": ".*"}


async def empty(nodes: Cluster) -> None:
    """Heal the nodes, kill the shop's processes, and delete all data but users and mail."""
    for name in nodes.faults.broken:  # by a test that has failed
        await nodes.faults.heal(name)
    supervisor = nodes.system.supervisor
    ours = (haproxy.NAME, *(process.name for process in PROCESSES))
    names = [name for name in supervisor.names if name.partition(".")[0] in ours]
    await asyncio.gather(*map(supervisor.kill_for_good, names))
    await nodes.healthy()
    await _empty_mongodb(nodes.environment["MONGODB_URI"])
    await _empty_rabbitmq(nodes.brokers.management_urls[0])
    _delete(nodes.environment["SIMULATOR_LEDGER"])


async def _empty_mongodb(uri: str) -> None:
    async with AsyncMongoClient[dict[str, Any]](uri) as client:
        for name in await client.list_database_names():
            if name not in _MONGODBS_OWN:
                await client.drop_database(name)


async def _empty_rabbitmq(management_url: str) -> None:
    host, user = f"{management_url}/api/vhosts/%2F", brokers.USER
    async with aiohttp.ClientSession(raise_for_status=True) as http:
        await http.delete(URL(host, encoded=True))
        await http.put(URL(host, encoded=True))
        permitted = f"{management_url}/api/permissions/%2F/{user}"
        await http.put(URL(permitted, encoded=True), json=_PERMISSIONS)


def _delete(ledger: str) -> None:
    for suffix in ("", "-wal", "-shm"):
        Path(ledger + suffix).unlink(missing_ok=True)
