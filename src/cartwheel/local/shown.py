"""Runs a command of the Makefile, and shows progress while the command is silent.

    PYTHONPATH=src python3 -m cartwheel.local.shown "checking the types" basedpyright

It prints the command's output at the end, and exits with its status. It uses only the standard
library.
"""

import os
import subprocess
import sys
from collections.abc import Sequence

from cartwheel.local.console import Console


class Failed(Exception):
    """The command ended with `status`."""

    def __init__(self, status: int, output: bytes) -> None:
        super().__init__(f"status {status}")
        self.status = status
        self.output = output


def output_of(doing: str, command: Sequence[str]) -> bytes:
    """Run `command`; return its output.

    Raises:
        Failed: its status is not 0.
    """
    colors = {"FORCE_COLOR": "1"} if sys.stdout.isatty() else {}
    with Console().doing(doing):
        done = subprocess.run(
            command,
            env={**os.environ, **colors},
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        if done.returncode:
            raise Failed(done.returncode, done.stdout)
    return done.stdout


def main() -> int:
    doing, *command = sys.argv[1:]
    try:
        sys.stdout.buffer.write(output_of(doing, command))
    except Failed as failed:
        sys.stdout.buffer.write(failed.output)
        return failed.status
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
