"""Pages of a shop: one with the card field, and those that customers come back to."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from aiohttp import web

_PAGE = """<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <meta name="color-scheme" content="light dark">
  <title>Pay</title>
  <link rel="icon" href="data:,">
  <script type="module">
    import { mountCardField } from "%(simulator)s/pages/static/card-field.js";
    const told = document.getElementById("told");
    try {
      const field = await mountCardField(document.getElementById("card"));
      document.getElementById("pay").onclick = async () => {
        told.textContent = JSON.stringify(await field.makeToken());
      };
      told.textContent = "ready";
    } catch (error) {
      told.textContent = error.message;
    }
  </script>
</head>
<body>
  <h1>Pay</h1>
  <div id="card"></div>
  <button id="pay">Pay</button>
  <output id="told">waiting</output>
</body>
</html>
"""

_BEGGAR = """<!doctype html>
<title>An advertisement</title>
<script>
  setInterval(() => {
    parent.frames[0].postMessage({ type: "cartwheel:make-token", request: 1 }, "*");
    parent.postMessage({ type: "cartwheel:token", request: 1, token: { id: "pm_forged" } }, "*");
    document.title = "sent";
  }, 2);
</script>
"""


class Storefront:
    """Serves the pages at `origin`, and remembers what browsers sent to it.

    At `stranger` it serves the same, which is another origin to a browser.
    """

    def __init__(self) -> None:
        self.origin = ""
        self.stranger = ""
        self.simulator = ""
        self.received: list[str] = []

    async def take(self, request: web.Request) -> web.Response:
        head = repr((request.method, request.raw_path, request.raw_headers))
        self.received.append(head + (await request.text()))
        page = _BEGGAR if request.path == "/beggar" else _PAGE % {"simulator": self.simulator}
        done = request.path in ("/done", "/back")
        return web.Response(
            text="<!doctype html><title>Back</title>Back" if done else page,
            content_type="text/html",
        )


@asynccontextmanager
async def serving() -> AsyncGenerator[Storefront]:
    storefront = Storefront()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", storefront.take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    storefront.origin = f"http://127.0.0.1:{port}"
    storefront.stranger = f"http://localhost:{port}"
    yield storefront
    await runner.cleanup()
