"""Pages from templates, each with the strictest content security policy that it works with."""

from collections.abc import Sequence
from typing import Any

import jinja2
from aiohttp import web

from cartwheel.simulator.errors import BadRequest

_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("cartwheel.simulator.pages"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)

_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    # An address here may hold the id of a session or a challenge.
    "Referrer-Policy": "no-referrer",
}


def page(
    template: str,
    *,
    status: int = 200,
    scripts: bool = False,
    leads_to: Sequence[str] = (),
    framed_by: str | None = None,
    **values: Any,
) -> web.Response:
    """Return the page that `template` makes of `values`.

    Args:
        status: of the answer.
        scripts: whether it runs scripts of this server, which may call this server.
        leads_to: the origins to which its form's answer redirects. Chromium holds `form-action`
            against redirects, too (https://w3c.github.io/webappsec-csp/#directive-form-action).
        framed_by: the only origin that may frame it; without one, nobody may.
    """
    policy = {
        "default-src": "'none'",
        "style-src": "'self'",
        "img-src": "'self'",
        "form-action": " ".join(("'self'", *leads_to)),
        "base-uri": "'none'",
        "frame-ancestors": framed_by or "'none'",
    }
    if scripts:
        policy |= {"script-src": "'self'", "connect-src": "'self'"}
    told = "; ".join(f"{directive} {sources}" for directive, sources in policy.items())
    return web.Response(
        text=_TEMPLATES.get_template(template).render(**values),
        status=status,
        content_type="text/html",
        headers={**_HEADERS, "Content-Security-Policy": told},
    )


async def read_form(request: web.Request) -> dict[str, str]:
    """Return what was sent with a page's form.

    Raises:
        BadRequest: it is not such a form. aiohttp would write a file of another to the disk.
    """
    if request.content_type != "application/x-www-form-urlencoded":
        raise BadRequest("parameter_invalid", "Send the form of this page.")
    return {name: str(value) for name, value in (await request.post()).items()}


def sent_on(address: str) -> web.Response:
    """Return the answer that sends a browser to `address` with a GET."""
    return web.Response(status=303, headers={**_HEADERS, "Location": address})
