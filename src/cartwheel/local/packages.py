"""Debian packages, installed when missing; elsewhere one line says what to install.

apt has three locks (of its lists, its archive and dpkg), and waits by itself for dpkg's only
(`DPkg::Lock::Timeout`). So whatever lock it misses, it is run again when that is free.

Only the standard library: `bootstrap` needs python3-venv before there is anything else.
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
"""Debian starts a service as soon as it is installed, and at every boot, unless policy-rc.d says
no (https://people.debian.org/~hmh/invokerc.d-policyrc.d-specification.txt). Cartwheel runs a
RabbitMQ and an HAProxy of its own, so the machine's stay off."""

LOCK_LIMIT = 600.0
"""Seconds that another process may hold a lock of apt's: as long as an upgrade may take."""
_LOCK_PAUSES = (1.0, 2.0, 4.0, 8.0)
_LOCK_PAUSE = 10.0
"""Seconds until apt is tried again: after the first times, and from then on."""
_LOCKED = re.compile(r"Could not get lock (\S+?)\.?(?: It is held by (process \d+ \(.+\)))?\s")
"""As apt says it: https://salsa.debian.org/apt-team/apt, apt-pkg/contrib/fileutl.cc, GetLock."""


class Missing(Exception):
    """Something is not installed and cannot be installed from here; the message says what to do."""


def install(needed: Mapping[str, str], console: Console) -> None:
    """Install the packages that are the keys of `needed`; the values say what each is for.

    Raises:
        Missing: no apt, no right to use it, or it failed.
    """
    packages = sorted(needed)
    purposes = ", ".join(f"{package} ({needed[package]})" for package in packages)
    if shutil.which("apt-get") is None:
        raise Missing(f"Please install, with your system's package manager: {purposes}")
    become_root = [] if os.geteuid() == 0 else ["sudo"]
    if become_root and shutil.which("sudo") is None:
        raise Missing(f"Please run as root: apt-get install {' '.join(packages)}")
    # One by one, so that what waits for a lock does not repeat what is done.
    run_apt([*become_root, *_UPDATE], "reading Debian's lists of packages", console)
    run_apt(
        [*become_root, "sh", "-c", _INSTALL, "apt", *packages],
        f"installing Debian's {' and '.join(packages)}",
        console,
    )


def run_apt(
    command: Sequence[str], doing: str, console: Console, *, lock_limit: float = LOCK_LIMIT
) -> None:
    """Run `command`, which uses apt and may be repeated; wait while others hold apt's locks.

    Raises:
        Missing: it failed, or others held a lock for longer than `lock_limit` seconds.
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
    """Run `command` to its end while the console says what for.

    With `own_progress` the command draws on the terminal itself, if there is one.

    Raises:
        Missing: it failed; the message holds the end of its output.
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
    # uv believes in certificates of its own only, and pip in the system's, which may hold those of
    # a company: https://docs.astral.sh/uv/concepts/authentication/certificates
    return {"UV_SYSTEM_CERTS": "true", **os.environ}


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run `command` to its end; both of its streams are in the result's `stdout`."""
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
