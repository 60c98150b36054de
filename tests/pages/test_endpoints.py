"""docs/endpoints.md lists every endpoint, who may call it, and its errors, as the code has them."""

import sys
from asyncio.subprocess import PIPE, create_subprocess_exec

from . import endpoints
from .golden import assert_is_current


async def test_the_page_is_what_the_code_says() -> None:
    process = await create_subprocess_exec(
        sys.executable, "-m", "tests.pages.endpoints", cwd=endpoints.ROOT, stdout=PIPE
    )
    page, _ = await process.communicate()

    assert process.returncode == 0
    assert_is_current(endpoints.PAGE, page.decode())
