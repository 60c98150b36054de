"""Installs missing Debian packages. On other systems, prints a line that says what to install.

apt has three locks (of its lists, its archive and dpkg), but waits only for dpkg's
(`DPkg::Lock::Timeout`). So if it does not get a lock, it is run again when that lock is free.

This module uses only the standard library, because `bootstrap` needs python3-venv first.
"""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from itertools import chain, repeat

from cartwheel.local.console import Console

_UPDATE = ("env", "LC_ALL=C", "apt-get", "update", "-q")
_INSTALL = """
set -e
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 130' INT TERM HUP
    printf '#!/bin/sh\\nexit 101\\n' >"$policy"
    chmod 755 "$policy"
fi
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
apt-get install -q -y --no-install-recommends "$@"
for package; do
    case "$package" in rabbitmq-server|haproxy)
        [ ! -d /run/systemd/system ] || systemctl disable -q "$package" || true
    esac
done
"""
"""Debian starts a service when it is installed, and at every boot, unless policy-rc.d forbids it
(https://people.debian.org/~hmh/invokerc.d-policyrc.d-specification.txt). Cartwheel runs a RabbitMQ
and an HAProxy of its own, so the machine's services stay off."""

LOCK_LIMIT = 600.0
"""Seconds to wait for a lock of apt: as long as an upgrade may take."""
_LOCK_PAUSES = (1.0, 2.0, 4.0, 8.0)
_LOCK_PAUSE = 10.0
"""Seconds between attempts: the first pauses, and all later ones."""
_LOCKED = re.compile(r"Could not get lock (\S+?)\.?(?: It is held by (process \d+ \(.+\)))?\s")
"""apt's message: https://salsa.debian.org/apt-team/apt, apt-pkg/contrib/fileutl.cc, GetLock."""


class Missing(Exception):
    """Something is missing and cannot be installed automatically. The message says what to do."""


def install(needed: Mapping[str, str], console: Console) -> None:
    """Install the packages that are the keys of `needed`. The values are their purposes.

    Raises:
        Missing: apt is missing, may not be used, or failed.
    """
    packages = sorted(needed)
    purposes = ", ".join(f"{package} ({needed[package]})" for package in packages)
    if shutil.which("apt-get") is None:
        raise Missing(f"Please install, with your system's package manager: {purposes}")
    become_root = [] if os.geteuid() == 0 else ["sudo"]
    if become_root and shutil.which("sudo") is None:
        raise Missing(f"Please run as root: apt-get install {' '.join(packages)}")
    # One command at a time, so that waiting for a lock repeats only the command that failed.
    run_apt([*become_root, *_UPDATE], "reading Debian's lists of packages", console)
    run_apt(
        [*become_root, "sh", "-c", _INSTALL, "apt", *packages],
        f"installing Debian's {' and '.join(packages)}",
        console,
    )


def run_apt(
    command: Sequence[str], doing: str, console: Console, *, lock_limit: float = LOCK_LIMIT
) -> None:
    """Run `command`, which uses apt and may be repeated. Wait while others hold apt's locks.

    Raises:
        Missing: it failed, or a lock was held for longer than `lock_limit` seconds.
    """
    deadline = time.monotonic() + lock_limit
    pauses = chain(_LOCK_PAUSES, repeat(_LOCK_PAUSE))
    told = ""
    with console.doing(doing) as so_far:
        while (done := _run(command)).returncode:
            locked = _LOCKED.search(done.stdout)
            if locked is None:
                raise Missing(_failure(doing, done.returncode, done.stdout))
            lock, holder = locked[1], locked[2] or "another process"
            left = deadline - time.monotonic()
            if left <= 0:
                raise Missing(
                    f"{doing}: {holder} has held {lock} for {lock_limit:.0f} s; "
                    "repeat this when it has ended"
                )
            waiting = f"waiting for {holder}, which holds {lock}"
            if waiting != told:
                so_far(told := waiting)
                console.say(f"  {waiting} (up to {lock_limit:.0f} s)")
            time.sleep(min(next(pauses), left))


def run_shown(
    command: Sequence[str],
    doing: str,
    console: Console,
    *,
    own_progress: bool = False,
) -> None:
    """Run `command` to its end while the console shows `doing`.

    With `own_progress` the command itself draws on the terminal, if there is one.

    Raises:
        Missing: it failed. The message contains the end of its output.
    """
    if own_progress and console.interactive:
        console.say(f"… {doing}")
        started = time.monotonic()
        status = subprocess.run(command, env=_environment(), check=False).returncode
        if status:
            raise Missing(_failure(doing, status, ""))
        console.say(f"✓ {doing} ({time.monotonic() - started:.1f} s)")
        return
    with console.doing(doing):
        done = _run(command)
        if done.returncode:
            raise Missing(_failure(doing, done.returncode, done.stdout))


def _environment() -> dict[str, str]:
    # By default uv trusts only its bundled certificates. Trust the system's as pip does: they may
    # include a company's. https://docs.astral.sh/uv/concepts/authentication/certificates
    return {"UV_SYSTEM_CERTS": "true", **os.environ}


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run `command` to its end. The result's `stdout` has both output streams."""
    return subprocess.run(
        command,
        env=_environment(),
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _failure(doing: str, status: int, output: str) -> str:
    tail = "\n".join(output.splitlines()[-15:])
    return f"{doing}: failed with status {status}\n{tail}".rstrip()
