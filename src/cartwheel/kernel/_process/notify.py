"""Telling whoever started this process how it is doing, by systemd's protocol.

`local` and systemd (Type=notify) both listen on a datagram socket named in `NOTIFY_SOCKET`:
https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html
"""

import contextlib
import os
import socket


def notify(state: str) -> None:
    """Send `state`, for example `READY=1` or `STOPPING=1`; does nothing if nobody listens."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):  # an abstract socket, which lives in no file system
        address = "\0" + address[1:]
    # A supervisor that has gone away is no reason to fail the work it once asked for.
    with (
        contextlib.suppress(OSError),
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel,
    ):
        channel.sendto(state.encode(), address)
