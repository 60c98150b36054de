"""Draws SVG by hand: the few shapes that the diagrams need, the same on every machine.

Graphviz would place the shapes itself, but its drawings differ with its version and the fonts that
it finds, so that a test could not compare them. The white background keeps them readable where the
page around them is dark.
"""

from collections.abc import Sequence
from html import escape

FONT = "font-family='system-ui, sans-serif' font-size='13'"
INK, LINE, FILL, BLUE, GREEN = "#1f2328", "#57606a", "#f6f8fa", "#0969da", "#1a7f37"
LINE_HEIGHT = 16.0

Point = tuple[float, float]


def drawing(width: float, height: float, title: str, shapes: Sequence[str]) -> str:
    """Return a whole SVG file. `title` is what screen readers read."""
    heads = "".join(
        f"<marker id='{color[1:]}' viewBox='0 0 10 10' refX='9' refY='5' markerWidth='8' "
        f"markerHeight='8' orient='auto'><path d='M0 1 9 5 0 9z' fill='{color}'/></marker>"
        for color in (LINE, BLUE, GREEN)
    )
    head = (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width:g} {height:g}' "
        f"width='{width:g}' height='{height:g}' role='img' {FONT} fill='{INK}'>"
    )
    background = f"<rect width='{width:g}' height='{height:g}' rx='8' fill='#ffffff'/>"
    body = [head, f"<title>{escape(title)}</title>", f"<defs>{heads}</defs>", background, *shapes]
    return "\n".join([*body, "</svg>", ""])


def box(center: Point, width: float, height: float, name: str) -> str:
    x, y = center
    return (
        f"<rect x='{x - width / 2:g}' y='{y - height / 2:g}' width='{width:g}' "
        f"height='{height:g}' rx='6' fill='{FILL}' stroke='{LINE}'/>"
        + words(center, [name], bold=True)
    )


def dot(center: Point) -> str:
    x, y = center
    return f"<circle cx='{x:g}' cy='{y:g}' r='7' fill='{INK}'/>"


def line(begin: Point, end: Point) -> str:
    """Return the thin line that a participant of a sequence diagram lives on."""
    return _line(begin, end, f"stroke='{LINE}' stroke-opacity='0.4'")


def arrow(begin: Point, end: Point, *, color: str = LINE, dashed: bool = False) -> str:
    dashes = " stroke-dasharray='5 4'" if dashed else ""
    style = f"stroke='{color}' stroke-width='1.5'{dashes} marker-end='url(#{color[1:]})'"
    return _line(begin, end, style)


def words(
    at: Point,
    lines: Sequence[str],
    *,
    anchor: str = "middle",
    bold: bool = False,
    color: str = INK,
) -> str:
    """Return `lines` around the height of `at`; a white border keeps them off what is beneath."""
    x, y = at
    first = y + 4.5 - LINE_HEIGHT * (len(lines) - 1) / 2
    weight = " font-weight='600'" if bold else " stroke='#ffffff' stroke-width='4'"
    style = f"text-anchor='{anchor}' fill='{color}'{weight} paint-order='stroke'"
    return "".join(
        f"<text x='{x:g}' y='{first + LINE_HEIGHT * index:g}' {style}>{escape(each)}</text>"
        for index, each in enumerate(lines)
    )


def _line(begin: Point, end: Point, style: str) -> str:
    (x1, y1), (x2, y2) = begin, end
    return f"<line x1='{x1:g}' y1='{y1:g}' x2='{x2:g}' y2='{y2:g}' {style}/>"
