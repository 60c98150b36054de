"""TCP ports on this machine: which are free, and which process listens on a taken one."""

import secrets
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

FIRST, LAST = 20000, 32000
"""Below the ports of outgoing connections (on Linux from 32768), so that a stored port is probably
still free at the next start."""


def listen(port: int, host: str = "127.0.0.1") -> None:
    """Listen on `port` at `host` for a moment.

    Raises:
        OSError: that is not possible; `errno` says why.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))


def in_url(host: str) -> str:
    """Return the host for URLs of a process that listens at `host`."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 it listens at neither
    return f"[{host}]" if ":" in host else host


def is_free(port: int) -> bool:
    """Return whether a process can listen on `port` at loopback."""
    try:
        listen(port)
    except OSError:
        return False
    return True


def find_free() -> int:
    """Return a random free port, so that two starts at the same time hardly collide."""
    while True:
        port = FIRST + secrets.randbelow(LAST - FIRST)
        if is_free(port):
            return port


def holder(port: int) -> "psutil.Process | None":
    """Return the process that listens on `port`; None if it is not visible to this user."""
    try:
        import psutil
    except ImportError:  # psutil is not installed yet
        return None
    try:
        for connection in psutil.net_connections("tcp"):
            listening = connection.status == psutil.CONN_LISTEN
            if listening and connection.laddr and connection.laddr.port == port and connection.pid:
                return psutil.Process(connection.pid)
    except psutil.Error:  # macOS shows this only to root
        return None
    return None
