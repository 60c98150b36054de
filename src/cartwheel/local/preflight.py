"""The checks of `make up` before it installs or starts anything: the checkout and the port.

    PYTHONPATH=src python3 -m cartwheel.local.preflight

The standard library is enough. With psutil, which `.venv` has, messages name the process that has
taken a port.
"""

import errno
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from cartwheel.local import instance, ports

DEFAULT_PORT = 8000
DEFAULT_HOST = "127.0.0.1"
LAST_PORT = 65_535


class PortUnusable(Exception):
    """The gateway cannot listen on its port. The message says why."""


def gateway_port(environment: Mapping[str, str]) -> int:
    """Return the port in `environment`, or the default.

    Raises:
        PortUnusable: PORT is not a valid port.
    """
    given = environment.get("PORT") or str(DEFAULT_PORT)
    if re.fullmatch("[0-9]{1,5}", given) is None or not 0 < int(given) <= LAST_PORT:
        raise PortUnusable(f"PORT is {given}, and should be a number from 1 to {LAST_PORT}")
    return int(given)


def check_port(port: int, environment: Mapping[str, str], home: Path) -> None:
    """Check that the gateway of the instance in `home` can listen on `port`.

    Processes left behind by an earlier run of `home` may have the port: the start ends them.

    Raises:
        PortUnusable: it cannot.
    """
    host = environment.get("HOST") or DEFAULT_HOST
    try:
        ports.listen(port, host)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            _refuse_taken(port, home)
        elif error.errno == errno.EACCES:
            raise PortUnusable(
                f"PORT is {port}, which needs the right to use ports below 1024. "
                f"Another one: PORT={port + 8000} make up"
            ) from None
        else:
            raise PortUnusable(f"HOST is {host}, which is not an address of this machine") from None


def _refuse_taken(port: int, home: Path) -> None:
    who = "another process"
    if holder := ports.holder(port):
        from cartwheel.local import leftovers  # needs psutil, which is there if `holder` is set

        who = f"{holder.name()} (pid {holder.pid})"
        if other := leftovers.home_of(holder):
            if other == str(home):
                return
            who = f"the Cartwheel in {other}, as {who}"
    other_port = port + 1 if port < LAST_PORT else port - 1
    raise PortUnusable(f"Port {port} is taken by {who}. Another one: PORT={other_port} make up")


def main() -> int:
    home = instance.folder()
    try:
        if (pid := instance.runner(home)) is not None:
            raise instance.InUse(home, pid)
        check_port(gateway_port(os.environ), os.environ, home)
    except (instance.InUse, PortUnusable) as refused:
        sys.stderr.write(f"✗ {refused}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
