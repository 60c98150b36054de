"""The HTTP part of a floor: a minimal ASGI app in one process with uvicorn, httptools and uvloop.

    python -m bench.floors.echo PORT SIZE STATUS

It reads a body if there is one, and answers SIZE bytes with STATUS.
"""

import sys
from typing import Any

import uvicorn


def main() -> None:
    port, size, status = (int(word) for word in sys.argv[1:])
    start = {
        "type": "http.response.start",
        "status": status,
        "headers": [
            (b"content-type", b"application/json"),
            (b"content-length", str(size).encode()),
        ],
    }
    body = {"type": "http.response.body", "body": b" " * size}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["method"] == "POST":
            while (await receive()).get("more_body"):
                pass
        await send(start)
        await send(body)

    uvicorn.run(
        app,
        host="127.0.0.1",
        port=port,
        http="httptools",
        loop="uvloop",
        lifespan="off",
        access_log=False,
        log_level="warning",
    )


if __name__ == "__main__":
    main()
