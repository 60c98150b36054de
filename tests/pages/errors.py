"""Makes docs/errors.md from the code: `python -m tests.pages.errors` prints the page.

A process of its own, which has loaded what a deployment loads: the gateway, and the services that
it asks. A refusal's docstring says in its first paragraph what it means, and in its second what the
client can do. Codes that no class stands for are explained in `gateway.possible`.
"""

import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from importlib import import_module
from inspect import getsourcefile
from pathlib import Path
from typing import Any, NamedTuple

from litestar import Router
from litestar.routes import HTTPRoute

from cartwheel.gateway import app
from cartwheel.gateway.bus import services_asked
from cartwheel.gateway.possible import (
    BEFORE_THE_APP,
    OF_EVERY_REQUEST,
    OF_NO_OPERATION,
    explained,
    possible,
)
from cartwheel.gateway.problems import STATUS_OF
from cartwheel.kernel.errors import Outage, Refusal

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "errors.md"

_BEGINNING = """# Error codes

Every answer that is not a success is a problem document
([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)):

```json
{
  "type": "about:blank",
  "title": "Conflict",
  "status": 409,
  "code": "insufficient_stock",
  "detail": "There is not enough stock for some items. Order fewer of them.",
  "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
  "errors": [
    {
      "field": "items[0].quantity",
      "message": "`items[0].quantity` is more than the 2 available."
    }
  ]
}
```

Programs read `code`, which never changes. People read `detail` and `errors`, whose words may
change. `trace_id` finds the request in the logs. Later versions may add codes: a client that does
not know one goes by the status.

The tables below list every code that a client can get. The last column links to where the code is
defined. This page is made from the source; after a change there, renew it:

    UPDATE_GOLDEN=1 make test ARGS=tests/pages
"""
_HEAD = "\n## {status}\n\n| code | meaning | what to do | from |\n|---|---|---|---|\n"


class Code(NamedTuple):
    """A row of the page. `source` is a path in the repository."""

    status: int
    code: str
    meaning: str
    remedy: str
    source: str


_PROBLEMS = "src/cartwheel/gateway/problems.py"
_REFUSALS = "src/cartwheel/gateway/refusals.py"


def codes() -> list[Code]:
    """Return what a client of this system can get, in the order of the page."""
    assert app.ROUTES, "the gateway is loaded, and the contracts that its routes use"
    for service in services_asked():
        import_module(f"cartwheel.{service}.app")
    without_a_class = (
        Code(*each, _REFUSALS if each in BEFORE_THE_APP else _PROBLEMS)
        for each in (*OF_EVERY_REQUEST, *OF_NO_OPERATION)
    )
    rows = sorted([*_of_classes(), *without_a_class])
    listed = {(row.status, row.code) for row in rows}
    documented = _documented() | {(each.status, each.code) for each in OF_NO_OPERATION}
    assert listed == documented, f"either here or in the OpenAPI document: {listed ^ documented}"
    return rows


def _documented() -> set[tuple[int, str]]:
    """Return what the operations of the OpenAPI document may answer."""
    return {
        (each.status, each.code)
        for router in app.ROUTES
        for route in Router("", route_handlers=[router]).routes
        if isinstance(route, HTTPRoute)
        for handler in route.route_handlers
        for each in possible(handler)
    }


def page() -> str:
    rows: defaultdict[int, list[Code]] = defaultdict(list)
    for each in codes():
        rows[each.status].append(each)
    return _BEGINNING + "".join(
        _HEAD.format(status=status) + "".join(map(_row, of_status))
        for status, of_status in rows.items()
    )


def _row(code: Code) -> str:
    owner = Path(code.source).relative_to("src/cartwheel").with_suffix("")
    origin = f"[{owner}](../{code.source})"
    return f"| `{code.code}` | {code.meaning} | {code.remedy} | {origin} |\n"


def _of_classes() -> Iterator[Code]:
    source = "\n".join(path.read_text() for path in _loaded())
    for kind in _below(Refusal) | _below(Outage):
        # A kind that stands for its subclasses only is never raised itself.
        raised = re.search(rf"(?<!class )\b{kind.__name__}\(", source)
        if "code" in vars(kind) and raised is not None:
            meaning, remedy = explained(kind)
            assert remedy, f"{kind.__name__}: its docstring has no second paragraph, what to do"
            yield Code(
                status=next(STATUS_OF[each] for each in kind.__mro__ if each in STATUS_OF),
                code=vars(kind)["code"],
                meaning=meaning,
                remedy=remedy,
                source=str(Path(getsourcefile(kind) or "").relative_to(ROOT)),
            )


def _below(kind: type[Any]) -> set[type[Any]]:
    return {each for sub in kind.__subclasses__() for each in {sub, *_below(sub)}}


def _loaded() -> Iterator[Path]:
    """Yield the files of Cartwheel's own that this process has imported."""
    for name, module in sorted(sys.modules.items()):
        if name.startswith("cartwheel.") and (file := getattr(module, "__file__", None)):
            yield Path(file)


if __name__ == "__main__":
    sys.stdout.write(page())
