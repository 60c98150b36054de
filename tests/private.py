"""Finds files that the machine's other users could read or change."""

from pathlib import Path


def open_to_others(home: Path) -> list[str]:
    """Return the files in `home`, and `home` itself, with permissions for group or others."""
    return [
        f"{path}: {mode & 0o777:o}"
        for path in (home, *home.rglob("*"))
        if not path.is_symlink() and (mode := path.stat().st_mode) & 0o077
    ]
