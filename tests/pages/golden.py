"""Pages and drawings that are made from the code: each is compared, and written when asked."""

import os
from pathlib import Path

DIAGRAMS = Path(__file__).parents[2] / "docs" / "diagrams"
RENEW = "UPDATE_GOLDEN=1 make test ARGS=tests/pages"


def assert_is_current(file: Path, content: str) -> None:
    """Check that the committed `file` is `content`; under UPDATE_GOLDEN, write it."""
    if os.environ.get("UPDATE_GOLDEN"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(content)
    assert file.exists(), f"{file.name} is missing: {RENEW} writes it"
    assert file.read_text() == content, f"{file.name} is out of date: {RENEW} renews it"
