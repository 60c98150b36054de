"""Makes docs/endpoints.md from the code: `python -m tests.pages.endpoints` prints the page.

A process of its own, as for the page of errors. Who may call an operation is the matrix that the
journeys prove; what it may answer is read off its route and off the requests that it sends.
"""

import sys
from collections.abc import Iterable, Iterator
from inspect import getdoc
from pathlib import Path
from typing import Any, NamedTuple, cast

from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute

from cartwheel.gateway.app import create_app
from cartwheel.gateway.identity import Verifier
from cartwheel.gateway.possible import Possible, possible
from cartwheel.gateway.rate_limits import UNLIMITED, RateLimits

from ..journeys.matrix import MATRIX

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "endpoints.md"

_BEGINNING = """# Endpoints

Every endpoint, who may call it, and [the errors](errors.md) that it may answer.

The columns in the middle are four callers: nobody (a request without a token), the customer whose
order, payment or account it is, another customer, and an administrator. ✓ is a success. 401, 403
and 404 are what the caller is answered instead: `unauthenticated`, `forbidden`, or as if there were
no such thing. Where there is nothing of a customer's in the request, both customers are alike.
Lists have only what the caller may see. Who asks for the orders of somebody else, by `user_id`, is
answered 403.

"""
_GROUPS = """Some errors are the same for many endpoints:

| group | errors |
|---|---|
{rows}
The first two groups are not repeated below. The column "groups" names the others.

This page is made from the source; after a change there, renew it:

    UPDATE_GOLDEN=1 make test ARGS=tests/pages
"""
_HEAD = """
## {section}

| endpoint | what it does | nobody | customer | other | admin | groups | other errors |
|---|---|---|---|---|---|---|---|
"""


EVERY, LIMITED = "every endpoint", "every endpoint except webhooks and probes"


class Endpoint(NamedTuple):
    section: str
    path: str
    method: str
    handler: HTTPRouteHandler

    @property
    def errors(self) -> set[Possible]:
        return set(possible(self.handler))

    @property
    def groups(self) -> Iterator[str]:
        yield EVERY
        if not self.handler.opt.get(UNLIMITED):
            yield LIMITED
        if not self.handler.opt.get("public"):
            yield "token"
        if self.handler.parsed_data_field:
            yield "body"


def endpoints() -> list[Endpoint]:
    given: Any = dict.fromkeys(("users", "directory", "bus", "look"))
    nobody: Any = None
    verifier = Verifier(nobody, nobody, issuer="", client_id="")
    app = create_app(**given, verifier=verifier, webhook_secret="", limits=RateLimits(None))
    return sorted(
        Endpoint(path.removeprefix("/api/v1").split("/")[1], path, method, handler)
        for route in app.routes
        if isinstance(route, HTTPRoute)
        for path in [route.path_format.removesuffix("/")]
        for handler in cast("Iterable[HTTPRouteHandler]", route.route_handlers)
        if handler.include_in_schema and handler.handler_name in MATRIX
        for method in handler.http_methods
        if method not in ("HEAD", "OPTIONS")
    )


def page() -> str:
    found = endpoints()
    assert {each.handler.handler_name for each in found} == MATRIX.keys(), "each has its row"
    groups = {EVERY: _shared(found)}
    for name in (LIMITED, "token", "body"):
        shared = _shared(each for each in found if name in each.groups)
        groups[name] = shared.difference(
            *(groups[each] for each in (EVERY, LIMITED) if each in groups)
        )
    rows = "".join(f"| {name} | {_codes(errors)} |\n" for name, errors in groups.items())
    sections = dict.fromkeys(each.section for each in found)
    return (
        _BEGINNING
        + _GROUPS.format(rows=rows)
        + "".join(
            _HEAD.format(section=section)
            + "".join(_row(each, groups) for each in found if each.section == section)
            for section in sections
        )
    )


def _shared(endpoints: Iterable[Endpoint]) -> set[Possible]:
    first, *others = (each.errors for each in endpoints)
    return first.intersection(*others)


def _row(each: Endpoint, groups: dict[str, set[Possible]]) -> str:
    who = MATRIX[each.handler.handler_name]
    does = (getdoc(each.handler.fn) or "").partition("\n\n")[0].replace("\n", " ")
    named = list(each.groups)
    others = each.errors.difference(*(groups[name] for name in named))
    cells = (
        f"`{each.method} {each.path}`",
        does,
        *(who.nobody, who.customer, who.other, who.admin),
        ", ".join(name for name in named if name not in (EVERY, LIMITED)),
        _codes(others),
    )
    return "".join(f"| {cell} " if cell else "| " for cell in cells) + "|\n"


def _codes(errors: Iterable[Possible]) -> str:
    return ", ".join(f"{status} `{code}`" for status, code in sorted({each[:2] for each in errors}))


if __name__ == "__main__":
    sys.stdout.write(page())
