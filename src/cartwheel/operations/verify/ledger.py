"""The provider's ledger: independent evidence of what was really charged and refunded."""

import aiohttp
import msgspec

from cartwheel.kernel.settings import HttpUrl
from cartwheel.operations.reaching import NotRunning
from cartwheel.operations.verify.records import LedgerLine
from cartwheel.operations.verify.spool import Spool

_PAGE = 1000
_ANSWER_WITHIN_SECONDS = 30.0


class LedgerSettings(msgspec.Struct, frozen=True, kw_only=True):
    simulator_url: HttpUrl
    simulator_api_key: str


class _Page(msgspec.Struct):
    data: list[LedgerLine]
    next_after: int | None = None


async def fetch(settings: LedgerSettings, spool: Spool) -> None:
    """Copy the ledger's lines that are not in `spool` yet into `spool`.

    Raises:
        NotRunning: the provider does not answer, or its answer is wrong.
    """
    headers = {"Authorization": f"Bearer {settings.simulator_api_key}"}
    timeout = aiohttp.ClientTimeout(total=_ANSWER_WITHIN_SECONDS)
    after: int | None = spool.last_line()
    try:
        async with aiohttp.ClientSession(
            settings.simulator_url, headers=headers, timeout=timeout
        ) as http:
            while after is not None:
                where = {"after": after, "limit": _PAGE}
                async with http.get("/v1/ledger", params=where, raise_for_status=True) as response:
                    page = msgspec.json.decode(await response.read(), type=_Page)
                spool.add_lines(page.data)
                after = page.next_after
    except (aiohttp.ClientError, TimeoutError, msgspec.DecodeError) as error:
        told = str(error) or type(error).__name__
        raise NotRunning(f"the provider's ledger cannot be read: {told}") from None
