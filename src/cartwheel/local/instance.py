"""One instance is one folder, by default `./.cartwheel`: its data, logs, ports and secrets.

.cartwheel/env             the running instance's addresses and secrets, as KEY=VALUE
.cartwheel/instance.json   values that were chosen once: ports, secrets, RabbitMQ's node name
.cartwheel/lock            locked by the running `cartwheel up`; contains its process id
.cartwheel/logs/           a file per process
.cartwheel/mongod/ rabbitmq/ ministack/ simulator/     data

Only the owner can read it: the emulator's signing keys let their holder log in as any user.
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
"""The variable that marks an instance's processes. Its value is the instance's folder."""
UMASK = 0o077
"""The umask of the instance's processes: only the owner can read the files they create."""


class InUse(Exception):
    """Another `cartwheel up` runs this instance. `pid` is its process id; 0 while it starts."""

    def __init__(self, home: Path, pid: int) -> None:
        super().__init__(f"{home} is in use: `cartwheel up` runs as process {pid}")
        self.pid = pid


class NotPrivate(Exception):
    """Something in the instance's folder belongs to another user, who may open it to everybody."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} belongs to another user and cannot be made private")


def folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the instance's folder: CARTWHEEL_HOME, or `.cartwheel` in the current folder."""
    return Path(environment.get("CARTWHEEL_HOME") or ".cartwheel").resolve()


def cluster_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of the instance that `cartwheel cluster up` runs."""
    beside = folder(environment)
    return beside.with_name(f"{beside.name}-cluster")


@contextmanager
def lock(home: Path) -> Generator[None]:
    """Lock the instance. The kernel releases the lock, however the holder ends.

    Raises:
        InUse: another process has locked it.
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
        # Empty the file before releasing the lock, so that nobody reads an outdated process id.
        file.truncate(0)


def make_folder(folder: Path) -> Path:
    """Return `folder`. If it is missing, create it for the owner only."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def private(file: str, flags: int) -> int:
    """Open `file`, created for the owner only if it is missing; for `open(…, opener=private)`."""
    return os.open(file, flags, 0o600)


def close_to_others(home: Path) -> None:
    """Remove the permissions of group and others in `home`, which older versions left open.

    Raises:
        NotPrivate: something in it belongs to another user.
    """
    # The folder itself comes first: it protects everything in it.
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
    """Return the process id of the `cartwheel up` that is running `home`, or None."""
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
    """Return the value stored under `key`; the first time, store what `make` returns."""
    known = _read(home)
    if key not in known:
        known[key] = make()
        write_private(home / "instance.json", json.dumps(known, indent=2) + "\n")
    return known[key]


def port(home: Path, name: str) -> int:
    """Return the port for `name`: the same as last time, unless it is taken."""
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
    """Return the variables of the running instance; empty if none is running."""
    file = home / "env"
    if not file.exists():
        return {}
    words = shlex.split(file.read_text(), comments=True)
    return dict(word.split("=", 1) for word in words)


def write_environment(home: Path, values: Mapping[str, str]) -> None:
    """Store the instance's variables for other terminals. A shell can read the file, too."""
    lines = [f"{key}={shlex.quote(value)}\n" for key, value in sorted(values.items())]
    write_private(home / "env", "".join(lines))


def forget_environment(home: Path) -> None:
    (home / "env").unlink(missing_ok=True)


def write_private(file: Path, text: str) -> None:
    """Replace the file atomically; only the owner can read it."""
    new = file.with_suffix(".new")
    new.unlink(missing_ok=True)
    with open(new, "x", opener=private) as opened:
        opened.write(text)
    new.replace(file)
