"""One instance is one folder, by default `./.cartwheel`: its data, logs, ports and secrets.

.cartwheel/env             how to reach the running instance, KEY=VALUE, for the owner only
.cartwheel/instance.json   what it chose once and keeps: ports, secrets, RabbitMQ's node name
.cartwheel/lock            held by the `cartwheel up` that runs it; holds its process id
.cartwheel/logs/           a file per process
.cartwheel/mongod/ rabbitmq/ ministack/ simulator/     data
"""

import fcntl
import json
import os
import shlex
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

from cartwheel.local import ports

MARKER = "CARTWHEEL_INSTANCE"
"""The variable that tells an instance's processes from everybody else's, and holds its folder."""


class InUse(Exception):
    """Another `cartwheel up` runs this instance; `pid` is its process id, 0 while it starts."""

    def __init__(self, home: Path, pid: int) -> None:
        super().__init__(f"{home} is in use: `cartwheel up` runs as process {pid}")
        self.pid = pid


def folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the instance's folder: CARTWHEEL_HOME, or `.cartwheel` where one stands."""
    return Path(environment.get("CARTWHEEL_HOME") or ".cartwheel").resolve()


@contextmanager
def lock(home: Path) -> Generator[None]:
    """Hold the instance; the kernel lets go of it however the holder ends.

    Raises:
        InUse: somebody else holds it.
    """
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InUse(home, _pid_in(home)) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
        # Emptied before the lock goes, so that a process id is only ever read while it is true.
        file.truncate(0)


def runner(home: Path) -> int | None:
    """Return the process id of the `cartwheel up` that runs `home`, or None."""
    if not (home / "lock").exists():
        return None
    with (home / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _pid_in(home)
    return None


def _pid_in(home: Path) -> int:
    return int((home / "lock").read_text() or 0)


def remember(home: Path, key: str, make: Callable[[], str]) -> str:
    """Return what was remembered under `key`; the first time, remember what `make` returns."""
    known = _read(home)
    if key not in known:
        known[key] = make()
        _write_private(home / "instance.json", json.dumps(known, indent=2) + "\n")
    return known[key]


def port(home: Path, name: str) -> int:
    """Return the port `name` listens on: the same as last time, unless somebody took it."""
    chosen = int(remember(home, f"{name}_port", lambda: str(ports.find_free())))
    if ports.is_free(chosen):
        return chosen
    known = _read(home)
    del known[f"{name}_port"]
    _write_private(home / "instance.json", json.dumps(known, indent=2) + "\n")
    return port(home, name)


def _read(home: Path) -> dict[str, str]:
    file = home / "instance.json"
    return json.loads(file.read_text()) if file.exists() else {}


def environment(home: Path) -> dict[str, str]:
    """Return the variables that reach the running instance; empty when none runs."""
    file = home / "env"
    if not file.exists():
        return {}
    words = shlex.split(file.read_text(), comments=True)
    return dict(word.split("=", 1) for word in words)


def write_environment(home: Path, values: Mapping[str, str]) -> None:
    """Tell other terminals how to reach the instance; a shell can read the file too."""
    lines = [f"{key}={shlex.quote(value)}\n" for key, value in sorted(values.items())]
    _write_private(home / "env", "".join(lines))


def forget_environment(home: Path) -> None:
    (home / "env").unlink(missing_ok=True)


def _write_private(file: Path, text: str) -> None:
    """Write the whole file or leave the old one, readable by its owner only."""
    new = file.with_suffix(".new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as opened:
        opened.write(text)
    new.replace(file)
