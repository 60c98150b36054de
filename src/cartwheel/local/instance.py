"""One instance is one folder, by default `./.cartwheel`: its data, logs, ports and secrets.

.cartwheel/env             how to reach the running instance, KEY=VALUE, for the owner only
.cartwheel/instance.json   what it chose once and keeps: ports, secrets, RabbitMQ's node name
.cartwheel/lock            held by the `cartwheel up` that runs it; holds its process id
.cartwheel/logs/           a file per process
.cartwheel/mongod/ rabbitmq/ ministack/ simulator/     data

All of it is for the owner only: whoever reads the emulator's signing keys can be anybody.
"""

import fcntl
import json
import os
import shlex
import stat
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from cartwheel.local import ports

MARKER = "CARTWHEEL_INSTANCE"
"""The variable that tells an instance's processes from everybody else's, and holds its folder."""
UMASK = 0o077
"""Of the instance's processes: what they make is for the owner only."""


class InUse(Exception):
    """Another `cartwheel up` runs this instance; `pid` is its process id, 0 while it starts."""

    def __init__(self, home: Path, pid: int) -> None:
        super().__init__(f"{home} is in use: `cartwheel up` runs as process {pid}")
        self.pid = pid


class NotPrivate(Exception):
    """Something in the instance's folder belongs to somebody else, who may leave it open to all."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} belongs to another user and cannot be made private")


def folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the instance's folder: CARTWHEEL_HOME, or `.cartwheel` where one stands."""
    return Path(environment.get("CARTWHEEL_HOME") or ".cartwheel").resolve()


def cluster_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of the instance that `cartwheel cluster up` runs, beside the other."""
    beside = folder(environment)
    return beside.with_name(f"{beside.name}-cluster")


@contextmanager
def lock(home: Path) -> Generator[None]:
    """Hold the instance; the kernel lets go of it however the holder ends.

    Raises:
        InUse: somebody else holds it.
    """
    make_folder(home)
    with open(home / "lock", "a+", opener=private) as file:
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


def make_folder(folder: Path) -> Path:
    """Return `folder`, made for the owner only if it is not there."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def private(file: str, flags: int) -> int:
    """Open `file`, made for the owner only if it is not there; for `open(…, opener=private)`."""
    return os.open(file, flags, 0o600)


def close_to_others(home: Path) -> None:
    """Take what group and others may do from all that is in `home`: older versions left it open.

    Raises:
        NotPrivate: some of it belongs to another user.
    """
    # The folder itself first: behind it, nobody reaches what is still open.
    for path in (home, *home.rglob("*")):
        with suppress(FileNotFoundError):  # a process's temporary file
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode) or not mode & UMASK:
                continue
            try:
                path.chmod(stat.S_IMODE(mode) & ~UMASK)
            except PermissionError:
                raise NotPrivate(path) from None


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
        write_private(home / "instance.json", json.dumps(known, indent=2) + "\n")
    return known[key]


def port(home: Path, name: str) -> int:
    """Return the port `name` listens on: the same as last time, unless somebody took it."""
    chosen = int(remember(home, f"{name}_port", lambda: str(ports.find_free())))
    if ports.is_free(chosen):
        return chosen
    known = _read(home)
    del known[f"{name}_port"]
    write_private(home / "instance.json", json.dumps(known, indent=2) + "\n")
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
    write_private(home / "env", "".join(lines))


def forget_environment(home: Path) -> None:
    (home / "env").unlink(missing_ok=True)


def write_private(file: Path, text: str) -> None:
    """Write the whole file or leave the old one, for the owner only."""
    new = file.with_suffix(".new")
    new.unlink(missing_ok=True)
    with open(new, "x", opener=private) as opened:
        opened.write(text)
    new.replace(file)
