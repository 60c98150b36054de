"""Makes `.venv` from requirements.lock. The Makefile runs it with the machine's own Python.

    PYTHONPATH=src python3 -m cartwheel.local.bootstrap .venv

It uses only the standard library, because nothing is installed yet. uv is one of the locked
packages: pip installs it with its hashes into the new environment, and uv installs the rest.
"""

import re
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from cartwheel.local import packages
from cartwheel.local.console import Console

ROOT = Path(__file__).parents[3]
LOCK = ROOT / "requirements.lock"
FIRST_IMPORTED = (
    "cartwheel.local.commands",
    "cartwheel.operations.commands",
    "cartwheel.gateway.app",
    "cartwheel.notifications.app",
)
"""Importing these imports nearly all the code that runs."""


def make_environment(venv: Path, console: Console) -> None:
    """Make `venv` match the lock exactly. May be repeated: it continues where it stopped.

    Raises:
        packages.Missing: something could not be installed.
    """
    uv = venv / "bin" / "uv"
    if not uv.exists():
        if find_spec("ensurepip") is None:
            packages.install({"python3-venv": "virtual environments"}, console)
        packages.run_shown(
            [sys.executable, "-m", "venv", "--clear", str(venv)], f"making {venv.name}", console
        )
        _install_uv(venv, console)
    python = str(venv / "bin" / "python")
    packages.run_shown(
        [str(uv), "pip", "sync", "--python", python, "--require-hashes", str(LOCK)],
        "installing the locked packages",
        console,
        own_progress=True,
    )
    install = [str(uv), "pip", "install", "--quiet", "--python", python]
    packages.run_shown(
        [*install, "--no-deps", "--no-build-isolation", "--editable", str(ROOT)],
        "installing Cartwheel itself",
        console,
    )
    # Compile now, with a message. Otherwise the first `cartwheel up` would be silent for seconds.
    imports = f"import {', '.join(FIRST_IMPORTED)}"
    packages.run_shown(
        [python, "-c", imports], "compiling the modules that are imported first", console
    )


def _install_uv(venv: Path, console: Console) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as requirement:
        requirement.write(stanza(LOCK.read_text(), "uv"))
        requirement.flush()
        pip = [str(venv / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check"]
        packages.run_shown(
            [*pip, "--require-hashes", "--no-deps", "-r", requirement.name],
            "installing uv",
            console,
            own_progress=True,
        )


def stanza(lock: str, package: str) -> str:
    """Return the lines of `lock` that pin `package`, with their hashes."""
    match = re.search(rf"^{re.escape(package)}==.*\n(?:    --hash=.*\n?)+", lock, re.MULTILINE)
    if match is None:
        raise packages.Missing(f"{LOCK.name} does not contain {package}; run `make lock`")
    return match.group()


def main() -> int:
    console = Console()
    try:
        make_environment(Path(sys.argv[1]).absolute(), console)
    except packages.Missing as missing:
        console.say(str(missing))
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
