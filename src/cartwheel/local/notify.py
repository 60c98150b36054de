"""systemd's readiness protocol: a process sends `READY=1` to the socket named by NOTIFY_SOCKET.

The same message serves under `Type=notify` (https://www.freedesktop.org/software/systemd/man/
sd_notify.html), and RabbitMQ sends it too.
"""

import asyncio
import hashlib
import os
import shutil
import socket
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


def folder(home: Path) -> Path:
    """Make an empty folder, for the owner only, for the sockets of the instance at `home`.

    It is not in `home`, because a socket's path may have at most 107 bytes. It is always the same,
    so that the folder of a killed run is used again.
    """
    sockets = folder_of(home)
    shutil.rmtree(sockets, ignore_errors=True)
    sockets.mkdir(mode=0o700)  # fails if another user has created it
    return sockets


def folder_of(home: Path) -> Path:
    """Return the path of that folder, which may not exist."""
    digest = hashlib.sha256(str(home).encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"cartwheel-{os.getuid()}-{digest}"


@contextmanager
def listening(path: Path) -> Generator[socket.socket]:
    """Open the socket that a process will report to, for as long as the body runs."""
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.setblocking(False)
        receiver.bind(str(path))
        yield receiver
    path.unlink(missing_ok=True)


async def ready(receiver: socket.socket) -> None:
    """Return when the process has reported that it is ready."""
    while True:
        message = await asyncio.get_running_loop().sock_recv(receiver, 4096)
        if b"READY=1" in message.split(b"\n"):
            return
