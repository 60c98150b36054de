"""systemd's readiness protocol: a process sends `READY=1` to the socket named by NOTIFY_SOCKET.

The same message serves under `Type=notify` (https://www.freedesktop.org/software/systemd/man/
sd_notify.html), and RabbitMQ sends it too.
"""

import asyncio
import socket
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def listening(path: Path) -> Generator[socket.socket]:
    """Open the socket a process will report to. `path` is limited to 107 bytes."""
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.setblocking(False)
        receiver.bind(str(path))
        yield receiver
    path.unlink(missing_ok=True)


async def ready(receiver: socket.socket) -> None:
    """Return when the process has said it is ready."""
    while True:
        message = await asyncio.get_running_loop().sock_recv(receiver, 4096)
        if b"READY=1" in message.split(b"\n"):
            return
