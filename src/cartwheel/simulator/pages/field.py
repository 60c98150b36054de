"""The card field: a frame in the shop's page, which gets the token and never the number.

The frame talks to the one origin that is named in its address, and only if that is one of the
shop's. A browser shows it in no other page, because the policy says so.
"""

from aiohttp import web

from cartwheel.simulator.dependencies import DEPENDENCIES
from cartwheel.simulator.errors import Forbidden
from cartwheel.simulator.pages.rendering import page


async def show_field(request: web.Request) -> web.Response:
    dependencies = request.config_dict[DEPENDENCIES]
    origin = request.query.get("origin", "")
    if origin not in dependencies.shop:
        raise Forbidden(
            "origin_not_allowed",
            "This page is not one of the shop's: its origin is not in SIMULATOR_SHOP_ORIGINS.",
        )
    return page(
        "field.html",
        scripts=True,
        framed_by=origin,
        origin=origin,
        key=dependencies.publishable_key,
    )
