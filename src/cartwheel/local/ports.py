"""TCP ports on this machine: which are free, and who holds one that is not."""

import secrets
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

FIRST, LAST = 20000, 32000
"""Below the ports that outgoing connections take by themselves (Linux: from 32768), so that a
remembered port is still free at the next start."""


def listen(port: int, host: str = "127.0.0.1") -> None:
    """Listen on `port` at `host` for a moment.

    Raises:
        OSError: it cannot be listened on; `errno` says why.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))


def in_url(host: str) -> str:
    """Return how a URL names this machine for what listens at `host`."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 it listens at neither
    return f"[{host}]" if ":" in host else host


def is_free(port: int) -> bool:
    """Return whether `port` can be listened on at loopback."""
    try:
        listen(port)
    except OSError:
        return False
    return True


def find_free() -> int:
    """Return a port nobody listens on, at random so that two starting at once hardly meet."""
    while True:
        port = FIRST + secrets.randbelow(LAST - FIRST)
        if is_free(port):
            return port


def holder(port: int) -> "psutil.Process | None":
    """Return the process that listens on `port`; None if it is not to be seen from here."""
    try:
        import psutil
    except ImportError:  # nothing is installed yet
        return None
    try:
        for connection in psutil.net_connections("tcp"):
            listening = connection.status == psutil.CONN_LISTEN
            if listening and connection.laddr and connection.laddr.port == port and connection.pid:
                return psutil.Process(connection.pid)
    except psutil.Error:  # macOS tells root only
        return None
    return None
