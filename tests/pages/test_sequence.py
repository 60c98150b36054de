"""docs/diagrams/purchase.svg is drawn from what tests/cost sees on the wire."""

from .golden import DIAGRAMS, assert_is_current
from .purchase import draw


def test_the_sequence_diagram_is_current() -> None:
    assert_is_current(DIAGRAMS / "purchase.svg", draw())
