"""The hosted page: a form for a card that works without scripts, and the way back to the shop.

The form is sent to this server alone. An error shows the form again, empty: a card's number is not
even repeated to the browser that sent it.
"""

import re
from datetime import UTC, datetime
from functools import partial

from aiohttp import web

from cartwheel.simulator import checkout
from cartwheel.simulator.cards import recognise
from cartwheel.simulator.checkout import Visit
from cartwheel.simulator.dependencies import DEPENDENCIES
from cartwheel.simulator.errors import CardError
from cartwheel.simulator.pages.rendering import page, read_form, sent_on

_EXPIRY = re.compile(r"\s*([0-9]{1,2})\s*[/.-]?\s*([0-9]{2}|[0-9]{4})\s*")
_LONGEST = 40
_FIELDS = ("number", "expiry", "cvc")

FIELD_OF = {"number": "number", "exp_month": "expiry", "exp_year": "expiry", "cvc": "cvc"}
"""Which field of the form a `param` of the API is typed into."""


def read_expiry(typed: str) -> tuple[int, int]:
    """Return month and year of an expiry such as 12/34.

    Raises:
        CardError: it is not one.
    """
    found = _EXPIRY.fullmatch(typed)
    if not found:
        raise CardError(
            "invalid_expiry_month", "Type the expiry as month and year: 12/34.", "exp_month"
        )
    month, year = map(int, found.groups())
    return month, year if year > 99 else 2000 + year


async def show_form(request: web.Request) -> web.Response:
    dependencies = request.config_dict[DEPENDENCIES]
    seen = await dependencies.ledger.do(
        partial(
            checkout.visit,
            session_id=request.match_info["id"],
            at=datetime.now(UTC),
            shop=dependencies.shop,
        )
    )
    if seen.complete:
        return sent_on(seen.success_url)
    return _form(seen)


async def take_form(request: web.Request) -> web.Response:
    dependencies = request.config_dict[DEPENDENCIES]
    session_id = request.match_info["id"]
    now = datetime.now(UTC)
    number, expiry, cvc = await _typed(request)
    try:
        card = recognise(number, *read_expiry(expiry), cvc, today=now.date())
    except CardError as error:
        work = partial(checkout.visit, session_id=session_id, at=now, shop=dependencies.shop)
        return _form(await dependencies.ledger.do(work), error)
    done = await dependencies.ledger.do(
        partial(checkout.complete, session_id=session_id, card=card, at=now, shop=dependencies.shop)
    )
    return sent_on(done.success_url)


async def _typed(request: web.Request) -> tuple[str, str, str]:
    sent = await read_form(request)
    number, expiry, cvc = (sent.get(name, "")[:_LONGEST] for name in _FIELDS)
    return number, expiry, cvc


def _form(seen: Visit, error: CardError | None = None) -> web.Response:
    return page(
        "hosted.html",
        status=error.status if error else 200,
        leads_to=[seen.origin],
        shop=seen.origin,
        cancel_url=seen.cancel_url,
        wrong=FIELD_OF[error.param or "number"] if error else None,
        message=error.message if error else None,
    )
