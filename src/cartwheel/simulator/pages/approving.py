"""The pages on which a customer approves a payment: the card issuer's challenge, and the wallet.

After an answer the browser goes to the address that the shop has given with the payment, and to no
other. That visit proves nothing: the shop asks the API, or waits for the webhook.
"""

from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from urllib.parse import urlencode, urlsplit

import msgspec
from aiohttp import web
from babel.numbers import get_currency_precision

from cartwheel.simulator import approvals
from cartwheel.simulator.approvals import Answer, Question
from cartwheel.simulator.dependencies import DEPENDENCIES, Dependencies
from cartwheel.simulator.errors import BadRequest
from cartwheel.simulator.fault_kinds import FaultKind, Step
from cartwheel.simulator.faults import webhook_delivery
from cartwheel.simulator.objects import Status
from cartwheel.simulator.outbox import NOT_AT_ALL
from cartwheel.simulator.pages.rendering import page, read_form, sent_on

NOTHING = "nothing"
"""The customer goes back to the shop without an answer."""

_RESULTS = {
    Status.REQUIRES_ACTION: "pending",
    Status.REQUIRES_CAPTURE: "succeeded",
    Status.SUCCEEDED: "succeeded",
    Status.FAILED: "failed",
    Status.CANCELED: "canceled",
}


async def ask(request: web.Request) -> web.Response:
    dependencies = request.config_dict[DEPENDENCIES]
    find = partial(approvals.find, secret=request.match_info["secret"])
    question = await dependencies.ledger.do(find)
    return _page(question)


async def take_answer(request: web.Request) -> web.Response:
    """Take an answer once, and send the browser back to the shop."""
    dependencies = request.config_dict[DEPENDENCIES]
    secret = request.match_info["secret"]
    said = (await read_form(request)).get("answer", "")
    question = await dependencies.ledger.do(partial(approvals.find, secret=secret))
    if said != NOTHING:
        try:
            answer = msgspec.convert(said, Answer)
        except msgspec.ValidationError:
            raise BadRequest("parameter_invalid", "Choose one of the answers.", "answer") from None
        question = await _take(dependencies, secret, question, answer)
    if question.return_url is None:
        return _page(question)
    return sent_on(_back_to_the_shop(question, question.return_url))


async def _take(
    dependencies: Dependencies, secret: str, question: Question, answer: Answer
) -> Question:
    fault = dependencies.faults.take(Step.ANSWER, question.intent.payment_id)
    if fault and fault.kind is FaultKind.NEVER_ANSWERED:
        return question
    work = partial(
        approvals.answer,
        secret=secret,
        said=answer,
        at=datetime.now(UTC),
        webhook=webhook_delivery(fault) if dependencies.webhooks else NOT_AT_ALL,
        authorized_for=dependencies.authorized_for,
    )
    answered = await dependencies.ledger.do(work)
    dependencies.wake()
    return answered


def _back_to_the_shop(question: Question, return_url: str) -> str:
    """Return `return_url` with what a page of the shop may show at once, as Stripe adds it."""
    intent = question.intent
    told = {
        "payment_id": intent.payment_id,
        "payment_intent": intent.id,
        "redirect_status": _RESULTS.get(intent.status, "pending"),
    }
    url, mark, fragment = return_url.partition("#")
    return f"{url}{'&' if '?' in url else '?'}{urlencode(told)}{mark}{fragment}"


def _page(question: Question) -> web.Response:
    intent = question.intent
    back = question.return_url
    return page(
        "approve.html",
        # After the answer, the browser is redirected there.
        leads_to=[_origin(back)] if back else [],
        by_wallet=question.by_wallet,
        card=intent.card,
        amount=_written(intent.amount or 0, intent.currency or ""),
        payment_id=intent.payment_id,
        is_open=question.is_open,
        result=_RESULTS.get(intent.status, "pending"),
        back=_back_to_the_shop(question, back) if back else None,
    )


def _written(amount: int, currency: str) -> str:
    """Return minor units as people write them, for example `19.99 USD`."""
    return f"{Decimal(amount).scaleb(-get_currency_precision(currency))} {currency}"


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
