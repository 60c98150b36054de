"""Debian packages, installed when missing; elsewhere one line says what to install.

Only the standard library: `bootstrap` needs python3-venv before there is anything else.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence

from cartwheel.local.console import Console

_APT = """
set -e
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 130' INT TERM HUP
    printf '#!/bin/sh\\nexit 101\\n' >"$policy"
    chmod 755 "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -q -y --no-install-recommends -o DPkg::Lock::Timeout=120 "$@"
for package; do
    if [ "$package" = rabbitmq-server ] && [ -d /run/systemd/system ]; then
        systemctl disable -q rabbitmq-server || true
    fi
done
"""
"""Debian starts a service as soon as it is installed, and at every boot, unless policy-rc.d says
no (https://people.debian.org/~hmh/invokerc.d-policyrc.d-specification.txt). Cartwheel runs a
RabbitMQ of its own, so the machine's stays off."""


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
    run_shown(
        [*become_root, "sh", "-c", _APT, "apt", *packages],
        f"installing Debian's {' and '.join(packages)}",
        console,
    )


def run_shown(
    command: Sequence[str],
    doing: str,
    console: Console,
    *,
    environment: Mapping[str, str] | None = None,
    own_progress: bool = False,
) -> None:
    """Run `command` to its end while the console says what for.

    With `own_progress` the command draws on the terminal itself, if there is one.

    Raises:
        Missing: it failed; the message holds the end of its output.
    """
    output = None if own_progress and console.interactive else subprocess.PIPE
    started = time.monotonic()
    if output is None:
        console.say(f"… {doing}")
        done = subprocess.run(command, env=environment, check=False)
        console.say(f"✓ {doing} ({time.monotonic() - started:.1f} s)")
    else:
        with console.doing(doing):
            done = subprocess.run(
                command,
                env=environment,
                check=False,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
            )
            if done.returncode:
                raise Missing(_failure(doing, done.returncode, done.stdout))
    if done.returncode:
        raise Missing(_failure(doing, done.returncode, ""))


def _failure(doing: str, status: int, output: str) -> str:
    tail = "\n".join(output.splitlines()[-15:])
    return f"{doing}: failed with status {status}\n{tail}".rstrip()
