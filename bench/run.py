"""`make bench`: how many requests a second the running system answers, and how fast.

Starts the system in a folder of its own, warms it up, and loads it over 127.0.0.1 with wrk. So
far there is one scenario: reading one order, through gateway, RabbitMQ, orders and MongoDB. Figures
from two machines, or two days, say little about each other; ratios within one run do.
"""

import asyncio
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from rich.console import Console
from rich.table import Table

from cartwheel.local.console import Console as Progress
from cartwheel.local.emulated_aws import ADMIN, PASSWORD
from cartwheel.local.up import System, running

CONNECTIONS = (1, 32, 128)
WARM_UP = 3
SECONDS = 8


class Result(msgspec.Struct, frozen=True):
    connections: int
    per_second: float
    p50: str
    p99: str
    errors: int


async def main() -> None:
    wrk = shutil.which("wrk")
    if wrk is None:
        sys.exit("The load comes from wrk, which is not installed: apt-get install wrk")
    progress = Progress()
    with tempfile.TemporaryDirectory(prefix="cartwheel-bench-") as folder:
        async with running(Path(folder), given={}, console=progress) as system:
            token, order_id = await _an_order(system)
            url = f"{system.url}/api/v1/orders/{order_id}"
            await _load(wrk, url, token, connections=32, seconds=WARM_UP)
            results: list[Result] = []
            for connections in CONNECTIONS:
                with progress.doing(f"get one order, {connections} connections"):
                    results.append(await _load(wrk, url, token, connections, SECONDS))
    _show(results)


async def _an_order(system: System) -> tuple[str, str]:
    """Return an administrator's token and the id of an order of theirs."""
    async with aiohttp.ClientSession(system.url) as http:

        async def post(path: str, body: dict[str, Any], token: str = "") -> Any:
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            async with http.post(f"/api/v1{path}", json=body, headers=headers) as response:
                response.raise_for_status()
                return await response.json()

        tokens = await post("/auth/login", {"email": ADMIN, "password": PASSWORD})
        token = tokens["access_token"]
        price = {"amount": 1999, "currency": "USD"}
        product = await post("/products", {"name": "Top", "price": price, "stock": 10}, token)
        items = [{"product_id": product["id"], "quantity": 2}]
        return token, (await post("/orders", {"items": items}, token))["id"]


async def _load(wrk: str, url: str, token: str, connections: int, seconds: int) -> Result:
    """Load `url` with that many connections for so long."""
    process = await asyncio.create_subprocess_exec(
        wrk,
        *("-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "--timeout", "10s"),
        *("-H", f"Authorization: Bearer {token}", url),
        stdout=asyncio.subprocess.PIPE,
    )
    printed = (await process.communicate())[0].decode()
    errors = re.search(r"Non-2xx or 3xx responses: (\d+)", printed)
    return Result(
        connections=connections,
        per_second=float(_found(r"Requests/sec:\s+([\d.]+)", printed)),
        p50=_found(r"\n\s+50%\s+(\S+)", printed),
        p99=_found(r"\n\s+99%\s+(\S+)", printed),
        errors=int(errors[1]) if errors else 0,
    )


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise ValueError(f"wrk printed no {pattern}:\n{text}")
    return match[1]


def _show(results: list[Result]) -> None:
    table = Table(title="get one order", title_justify="left")
    for column in ("connections", "requests/s", "p50", "p99", "errors"):
        table.add_column(column, justify="right")
    for result in results:
        table.add_row(
            str(result.connections),
            f"{result.per_second:,.0f}",
            result.p50,
            result.p99,
            str(result.errors),
        )
    Console().print(table)


if __name__ == "__main__":
    asyncio.run(main())
