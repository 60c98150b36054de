"""Opens the socket that a process listens on, or says in one sentence why that fails."""

import errno
import socket


class CannotListen(Exception):
    """A process cannot listen. The message names the setting at fault."""


def listen(
    host: str,
    port: int,
    *,
    variable: str = "PORT",
    host_variable: str = "HOST",
    backlog: int = 128,
    share: bool = False,
) -> socket.socket:
    """Return a socket that listens on `port` of `host`. Errors name the two variables.

    With `share`, several processes may listen on one port.

    Raises:
        CannotListen: the port is taken or not permitted, or the host is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=backlog, reuse_port=share)
    except OSError as error:
        place, at = f"{variable} is {port}", f"{host} ({host_variable})"
        if error.errno == errno.EADDRINUSE:
            why = f"{place}, which is taken at {at}"
        elif error.errno == errno.EACCES:
            why = f"{place}, which needs the right to use ports below 1024"
        else:
            why = f"{host_variable} is {host}, which is no address of this machine"
        raise CannotListen(why) from error
