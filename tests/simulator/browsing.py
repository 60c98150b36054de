"""A customer's browser on the simulator's pages. It has no key."""

import aiohttp


async def browse(url: str, said: str | None = None) -> tuple[int, str, str | None]:
    """Open a page, or give an answer on it; return status, text, and where the browser is sent."""
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as browser,
        browser.request(
            "POST" if said else "GET",
            url,
            data={"answer": said} if said else None,
            allow_redirects=False,
        ) as response,
    ):
        return response.status, await response.text(), response.headers.get("Location")
