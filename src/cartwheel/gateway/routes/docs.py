"""The API's description at `/api/openapi.json`, a page to read and try it at `/api`, and an index
of what is served at `/`.

The page is Swagger UI, served from the package `swagger-ui-bundle-v2` (its files are those of the
npm package, byte for byte). Nothing is loaded from elsewhere: the page's content security policy
does not let it.
"""

from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
from litestar import Request, Response, Router, get
from litestar.exceptions import NotFoundException
from litestar.params import FromPath
from swagger_ui_bundle import swagger_ui_path

from cartwheel.gateway.identity import PUBLIC
from cartwheel.gateway.openapi import SERVER, describe

# Swagger UI styles elements inline and draws its icons from data: addresses.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
PAGE = b"""<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <title>Cartwheel API</title>
  <link rel="icon" href="/api/assets/favicon-32x32.png">
  <link rel="stylesheet" href="/api/assets/swagger-ui.css">
</head>
<body>
  <div id="api"></div>
  <script src="/api/assets/swagger-ui-bundle.js"></script>
  <script src="/api/assets/start.js"></script>
</body>
</html>
"""
START = b"""SwaggerUIBundle({
  url: "/api/openapi.json",
  dom_id: "#api",
  deepLinking: true,
  displayRequestDuration: true,
  persistAuthorization: true,
  validatorUrl: null,
});
"""
_DAY = {"cache-control": "public, max-age=86400"}
_TYPES = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "favicon-32x32.png": "image/png",
}


class Links(msgspec.Struct, frozen=True, kw_only=True):
    """Paths of this server."""

    api: str = SERVER
    documentation: str = "/api"
    openapi: str = "/api/openapi.json"
    live: str = "/health/live"
    ready: str = "/health/ready"


class Index(msgspec.Struct, frozen=True, kw_only=True):
    """What is served here."""

    name: str
    version: str
    links: Links


@get("/", sync_to_thread=False, response_headers={"cache-control": "no-cache"})
def index() -> Index:
    return Index(name="Cartwheel", version=version("cartwheel"), links=Links())


@get("/", sync_to_thread=False)
def page() -> Response[bytes]:
    return Response(PAGE, media_type="text/html", headers={"Content-Security-Policy": POLICY})


@get("/openapi.json", sync_to_thread=False)
def document(request: Request[Any, Any, Any]) -> Response[bytes]:
    state = request.app.state
    if "openapi" not in state:
        state["openapi"] = msgspec.json.encode(describe(request.app))
    return Response(state["openapi"], media_type="application/vnd.oai.openapi+json")


@get("/assets/{name:str}", sync_to_thread=True)
def asset(name: FromPath[str]) -> Response[bytes]:
    if name == "start.js":
        return Response(START, media_type="text/javascript", headers=_DAY)
    if name not in _TYPES:
        raise NotFoundException
    content = (Path(swagger_ui_path) / name).read_bytes()
    return Response(content, media_type=_TYPES[name], headers=_DAY)


router = Router(
    "/",
    route_handlers=[
        index,
        Router(
            "/api",
            route_handlers=[page, document, asset],
            response_headers={"referrer-policy": "no-referrer", "cache-control": "no-cache"},
        ),
    ],
    opt=PUBLIC,
    include_in_schema=False,
)
