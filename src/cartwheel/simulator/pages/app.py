"""The pages as one application, below `PREFIX`. Nobody needs a key to open them."""

import traceback
from collections.abc import Awaitable, Callable

from aiohttp import web

from cartwheel.kernel import log
from cartwheel.simulator.errors import ApiError
from cartwheel.simulator.pages.approving import ask, take_answer
from cartwheel.simulator.pages.field import show_field
from cartwheel.simulator.pages.hosted import show_form, take_form
from cartwheel.simulator.pages.rendering import page
from cartwheel.simulator.pages.static_files import static_file

PREFIX = "/pages"

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def make_pages() -> web.Application:
    """Return the application. It reads the dependencies of the one that it is mounted in."""
    app = web.Application(middlewares=[_explain])
    app.add_routes(
        [
            web.get("/static/{name}", static_file),
            web.get("/card-field", show_field),
            web.get("/checkout/{id}", show_form),
            web.post("/checkout/{id}", take_form),
            web.get("/approve/{secret}", ask),
            web.post("/approve/{secret}", take_answer),
        ]
    )
    return app


@web.middleware
async def _explain(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Turn errors into pages. None repeats what was sent, which may be card data."""
    try:
        return await handler(request)
    except ApiError as error:
        return page("problem.html", status=error.status, message=error.message)
    except web.HTTPException as error:
        return page("problem.html", status=error.status, message=f"{error.reason}.")
    except Exception as error:
        where = traceback.format_tb(error.__traceback__)[-1]
        log.error("page failed", error=type(error).__name__, where=where)
        return page("problem.html", status=500, message="Something went wrong. Try again.")
