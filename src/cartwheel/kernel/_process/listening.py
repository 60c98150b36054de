"""Where a process listens: one socket, as its settings say, or one sentence why it cannot be."""

import errno
import socket


class CannotListen(Exception):
    """The message names the setting at fault."""


def listen(
    host: str, port: int, *, variable: str = "PORT", backlog: int = 128, share: bool = False
) -> socket.socket:
    """Return a socket that listens on `port`, which `variable` has set; HOST has set `host`.

    With `share`, several processes may listen on one port.

    Raises:
        CannotListen: the port is taken or may not be used, or the host is none of this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=backlog, reuse_port=share)
    except OSError as error:
        raise CannotListen(_sentence(host, port, variable, error.errno)) from error


def _sentence(host: str, port: int, variable: str, number: int | None) -> str:
    if number == errno.EADDRINUSE:
        return f"{variable} is {port}, which is taken at {host} (HOST)"
    if number == errno.EACCES:
        return f"{variable} is {port}, which needs the right to use ports below 1024"
    return f"HOST is {host}, which is no address of this machine"
