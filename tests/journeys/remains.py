"""What the system keeps of what it was sent: logs, databases, queues and files, searched."""

import base64
import mmap
from collections.abc import AsyncGenerator, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import aio_pika

from cartwheel.kernel import mongodb
from cartwheel.local.up import System

from .broker import queues

NOT_OURS = ("ministack", "simulator")
"""The folders of the AWS emulator and of the payment simulator. They stand for others' systems: the
emulator keeps users with their passwords, and the simulator keeps the tokens of cards."""

NOT_OUR_LOGS = ("ministack.log",)


class Remains(NamedTuple):
    """Something that the system keeps, and where."""

    where: str
    content: bytes | mmap.mmap


class Hit(NamedTuple):
    where: str
    form: str
    around: bytes


def forms(secret: bytes) -> Mapping[str, bytes]:
    """Return `secret` as it may be kept: raw, URL-encoded, in hex, in base64 at any offset."""
    found = {
        "raw": secret,
        "URL-encoded": quote(secret, safe="").encode(),
        "all URL-encoded": b"".join(b"%%%02X" % byte for byte in secret),
        "hex": secret.hex().encode(),
    }
    for offset, unstable in ((0, 0), (1, 2), (2, 3)):
        padded = b"x" * offset + secret
        stable = len(padded) * 8 // 6
        found[f"base64 at {offset}"] = base64.b64encode(padded)[unstable:stable]
    return found


def hits(remains: Remains, secrets: Mapping[str, bytes]) -> Iterator[Hit]:
    """Yield every place in `remains` that has one of the `secrets` in one of its forms."""
    for name, secret in secrets.items():
        for form, told in forms(secret).items():
            at = remains.content.find(told)
            while at >= 0:
                around = remains.content[max(0, at - 80) : at + len(told) + 40]
                yield Hit(f"{name} in {remains.where}", form, around)
                at = remains.content.find(told, at + len(told))


async def everything_kept(system: System) -> AsyncGenerator[Remains]:
    """Yield all that the system keeps. MongoDB compresses its files, so it is asked as well."""
    async with mongodb.connect(system.environment["MONGODB_URI"], process="tests") as client:
        for name in await client.list_database_names():
            for collection in await client[name].list_collection_names():
                async for document in client[name][collection].find():
                    yield Remains(f"{name}.{collection}", repr(document).encode())
    connection = await aio_pika.connect(system.environment["RABBITMQ_URL"])
    async with connection:
        for name in await queues(system):
            channel = await connection.channel()  # closing it puts the messages back
            queue = await channel.get_queue(name, ensure=False)
            while (message := await queue.get(fail=False)) is not None:
                yield Remains(f"queue {name}", repr(message.headers).encode() + message.body)
            await channel.close()
    for file in our_files(system.supervisor.home):
        with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, prot=mmap.PROT_READ) as seen:
            yield Remains(str(file), seen)


def our_files(home: Path) -> Iterator[Path]:
    for file in sorted(home.rglob("*")):
        inside = file.relative_to(home)
        ours = inside.parts[0] not in NOT_OURS and file.name not in NOT_OUR_LOGS
        if ours and file.is_file() and file.stat().st_size:
            yield file
