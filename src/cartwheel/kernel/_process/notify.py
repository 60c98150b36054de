"""Reports this process's state to its supervisor, by systemd's protocol.

`local` and systemd (Type=notify) both listen on a datagram socket named in `NOTIFY_SOCKET`:
https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html
"""

import contextlib
import os
import socket


def notify(state: str) -> None:
    """Send `state`, such as `READY=1` or `STOPPING=1`. Does nothing without a supervisor."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):  # an abstract socket, without a file
        address = "\0" + address[1:]
    # If the supervisor is gone, the process still goes on working.
    with (
        contextlib.suppress(OSError),
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel,
    ):
        channel.sendto(state.encode(), address)
