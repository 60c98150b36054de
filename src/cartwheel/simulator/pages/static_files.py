"""The style and the scripts of the pages."""

from importlib.resources import files
from pathlib import PurePath

from aiohttp import web

_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}

_FILES = {
    entry.name: entry.read_bytes()
    for entry in files("cartwheel.simulator.pages").joinpath("static").iterdir()
    if PurePath(entry.name).suffix in _TYPES
}


async def static_file(request: web.Request) -> web.Response:
    name = request.match_info["name"]
    if name not in _FILES:
        raise web.HTTPNotFound
    return web.Response(
        body=_FILES[name],
        content_type=_TYPES[PurePath(name).suffix],
        charset="utf-8",
        headers={
            # The shop's page imports a script as a module, which needs CORS.
            "Access-Control-Allow-Origin": "*",
            "Cache-Control": "no-cache",
            "X-Content-Type-Options": "nosniff",
        },
    )
