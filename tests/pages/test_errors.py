"""docs/errors.md lists every code that a client can get, as the code has it."""

import sys
from asyncio.subprocess import PIPE, create_subprocess_exec

from . import errors
from .golden import assert_is_current


async def test_the_page_is_what_the_code_says() -> None:
    # A process of its own: this one has loaded refusals that no client of the shop meets.
    process = await create_subprocess_exec(
        sys.executable, "-m", "tests.pages.errors", cwd=errors.ROOT, stdout=PIPE
    )
    page, _ = await process.communicate()

    assert process.returncode == 0
    assert_is_current(errors.PAGE, page.decode())
