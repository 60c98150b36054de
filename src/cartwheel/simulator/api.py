"""The HTTP API, modeled on Stripe's PaymentIntents. `docs/simulator.md` describes it."""

import hmac
import traceback
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, TypeVar

import msgspec
from aiohttp import web

from cartwheel.kernel import log
from cartwheel.simulator import authorizations, checkout, disputes, ledger, lines
from cartwheel.simulator.cards import recognise
from cartwheel.simulator.checkout import NewSession
from cartwheel.simulator.dependencies import DEPENDENCIES, Dependencies
from cartwheel.simulator.errors import (
    ApiError,
    BadRequest,
    Contradiction,
    Forbidden,
    Unauthorized,
)
from cartwheel.simulator.fault_kinds import FaultKind, Step
from cartwheel.simulator.faults import Fault, answered, overcharge, webhook_delivery
from cartwheel.simulator.objects import (
    Decision,
    Dispute,
    Entries,
    Id,
    Intent,
    NewCapture,
    NewDispute,
    NewIntent,
    NewPaymentMethod,
    NewRefund,
    Refund,
    Why,
)
from cartwheel.simulator.outbox import NOT_AT_ALL, ONCE, Delivery
from cartwheel.simulator.pages.app import PREFIX, make_pages

Body = TypeVar("Body")
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

MAX_BODY = 16_384
MAX_PAGE = 1000
MAX_KEY = 255


PAYMENT_METHODS = "/v1/payment_methods"
"""The only path that browsers call."""

SESSIONS = "/v1/checkout/sessions"

_FOR_PAGES = {"Access-Control-Allow-Origin": "*"}
"""No cookie is read, so a page of any origin may call."""

_PREFLIGHT = {
    **_FOR_PAGES,
    "Access-Control-Allow-Methods": "POST",
    "Access-Control-Allow-Headers": "Authorization, Content-Type",
    "Access-Control-Max-Age": "86400",
}


def make_app(dependencies: Dependencies) -> web.Application:
    app = web.Application(middlewares=[_open_to_pages, _guard], client_max_size=MAX_BODY)
    app[DEPENDENCIES] = dependencies
    app.add_routes(
        [
            web.post(PAYMENT_METHODS, create_payment_method),
            web.post(SESSIONS, begin_session),
            web.get(f"{SESSIONS}/{{id}}", get_session),
            web.post("/v1/payment_intents", create_intent),
            web.get("/v1/payment_intents/{id}", get_intent),
            web.post("/v1/payment_intents/{id}/confirm", confirm_intent),
            web.get("/v1/payments/{id}", get_payment),
            web.post("/v1/payments/{id}/cancel", cancel_payment),
            web.post("/v1/payment_intents/{id}/capture", capture_intent),
            web.post("/v1/payments/{id}/capture", capture_payment),
            web.post("/v1/payments/{id}/lapse", lapse_payment),
            web.post("/v1/refunds", create_refund),
            web.post("/v1/refunds/{id}/fail", fail_refund),
            web.post("/v1/disputes", open_dispute),
            web.get("/v1/disputes/{id}", get_dispute),
            web.post("/v1/disputes/{id}/close", close_dispute),
            web.get("/v1/ledger", read_ledger),
            web.get("/v1/payments/{id}/ledger", read_lines_of_payment),
            web.post("/v1/faults", add_fault),
            web.get("/v1/faults", list_faults),
            web.delete("/v1/faults", clear_faults),
        ]
    )
    app.add_subapp(PREFIX, make_pages())
    return app


async def create_payment_method(request: web.Request) -> web.Response:
    sent = _decode(await request.read(), NewPaymentMethod).card
    now = _now()
    card = recognise(sent.number, sent.exp_month, sent.exp_year, sent.cvc, today=now.date())
    return _answer(
        await request.app[DEPENDENCIES].ledger.do(partial(ledger.save_card, card=card, at=now))
    )


async def begin_session(request: web.Request) -> web.Response:
    dependencies = request.app[DEPENDENCIES]
    new = _decode(await request.read(), NewSession)
    page = f"{dependencies.pages(request)}{PREFIX}/checkout"
    work = partial(checkout.begin, new=new, at=_now(), shop=dependencies.shop, page=page)
    return _answer(await dependencies.ledger.do(work))


async def get_session(request: web.Request) -> web.Response:
    work = partial(
        checkout.find,
        session_id=_path_id(request),
        client_secret=request.query.get("client_secret", ""),
        at=_now(),
    )
    return _answer(await request.app[DEPENDENCIES].ledger.do(work))


async def create_intent(request: web.Request) -> web.Response:
    key = request.headers.get("Idempotency-Key", "")
    if not 1 <= len(key) <= MAX_KEY:
        raise BadRequest("idempotency_key_missing", "Send an Idempotency-Key of 1 to 255 bytes.")
    dependencies = request.app[DEPENDENCIES]
    new = _decode(await request.read(), NewIntent)

    fault = dependencies.faults.take(Step.CONFIRM, new.payment_id) if new.confirm else None

    async def make(webhook: Delivery) -> web.Response:
        work = (
            partial(
                ledger.charge,
                key=key,
                new=new,
                at=_now(),
                webhook=webhook,
                authorized_for=dependencies.authorized_for,
                more=overcharge(fault),
                pages=dependencies.pages(request),
            )
            if new.confirm
            else partial(ledger.create_intent, key=key, new=new, at=_now())
        )
        intent, replayed = await dependencies.ledger.do(work)
        answer = _answer(intent)
        if replayed:
            answer.headers["Idempotent-Replayed"] = "true"
        return answer

    if not new.confirm:
        return await make(NOT_AT_ALL)
    return await _confirming(request, fault, make, new.payment_id)


async def get_intent(request: web.Request) -> web.Response:
    intent_id = _path_id(request)
    return _answer(
        await request.app[DEPENDENCIES].ledger.do(partial(ledger.find_intent, intent_id=intent_id))
    )


async def get_payment(request: web.Request) -> web.Response:
    dependencies = request.app[DEPENDENCIES]
    payment_id = _path_id(request)

    async def look() -> web.Response:
        work = partial(
            authorizations.current,
            payment_id=payment_id,
            at=_now(),
            webhook=dependencies.delivery,
        )
        return _answer(await dependencies.ledger.do(work))

    return await answered(dependencies.faults.take(Step.LOOK_UP, payment_id), request, look)


async def confirm_intent(request: web.Request) -> web.Response:
    dependencies = request.app[DEPENDENCIES]
    intent_id = _path_id(request)
    fault, payment_id = None, ""
    if dependencies.faults.pending:  # otherwise the lookup is not needed
        intent = await dependencies.ledger.do(partial(ledger.find_intent, intent_id=intent_id))
        payment_id = intent.payment_id
        fault = dependencies.faults.take(Step.CONFIRM, payment_id)

    async def confirm(webhook: Delivery) -> web.Response:
        work = partial(
            ledger.confirm,
            intent_id=intent_id,
            at=_now(),
            webhook=webhook,
            authorized_for=dependencies.authorized_for,
            more=overcharge(fault),
            pages=dependencies.pages(request),
        )
        return _answer(await dependencies.ledger.do(work))

    return await _confirming(request, fault, confirm, payment_id)


async def _confirming(
    request: web.Request,
    fault: Fault | None,
    confirm: Callable[[Delivery], Awaitable[web.Response]],
    payment_id: str,
) -> web.Response:
    """Confirm with the given `fault`, and have the verdict's webhook sent."""
    dependencies = request.app[DEPENDENCIES]
    webhooks = dependencies.webhooks

    async def charge() -> web.Response:
        answer = await confirm(webhook_delivery(fault) if webhooks else NOT_AT_ALL)
        if webhooks:
            webhooks.wake()
        if fault and fault.kind is FaultKind.LAPSES_EARLY:
            dependencies.late.start(fault.seconds, partial(_lapse, dependencies, payment_id))
        if fault and fault.kind is FaultKind.DISPUTE:
            dependencies.late.start(fault.seconds, partial(_dispute, dependencies, payment_id))
        return answer

    return await answered(fault, request, charge)


async def _dispute(dependencies: Dependencies, payment_id: str) -> None:
    with suppress(Contradiction):  # the charge was declined
        await _open(dependencies, NewDispute(payment_id=payment_id))


async def cancel_payment(request: web.Request) -> web.Response:
    dependencies = request.app[DEPENDENCIES]
    payment_id = _path_id(request)
    webhook = ONCE if dependencies.webhooks else NOT_AT_ALL

    async def cancel() -> web.Response:
        work = partial(ledger.cancel, payment_id=payment_id, at=_now(), webhook=webhook)
        intent = await dependencies.ledger.do(work)
        if dependencies.webhooks:
            dependencies.webhooks.wake()
        return _answer(intent)

    return await answered(dependencies.faults.take(Step.CANCEL, payment_id), request, cancel)


async def capture_intent(request: web.Request) -> web.Response:
    work = partial(ledger.find_intent, intent_id=_path_id(request))
    intent = await request.app[DEPENDENCIES].ledger.do(work)
    return await _capture(request, intent.payment_id)


async def capture_payment(request: web.Request) -> web.Response:
    return await _capture(request, _path_id(request))


async def _capture(request: web.Request, payment_id: str) -> web.Response:
    dependencies = request.app[DEPENDENCIES]
    new = _decode(await request.read() or b"{}", NewCapture)
    fault = dependencies.faults.take(Step.CAPTURE, payment_id)

    async def capture() -> web.Response:
        work = partial(
            authorizations.capture,
            payment_id=payment_id,
            new=new,
            at=_now(),
            webhook=dependencies.delivery,
            refused=fault is not None and fault.kind is FaultKind.CAPTURE_FAILS,
        )
        intent = await dependencies.ledger.do(work)
        dependencies.wake()
        return _answer(intent)

    return await answered(fault, request, capture)


async def lapse_payment(request: web.Request) -> web.Response:
    return _answer(await _lapse(request.app[DEPENDENCIES], _path_id(request)))


async def _lapse(dependencies: Dependencies, payment_id: str) -> Intent:
    webhook = dependencies.delivery
    work = partial(authorizations.lapse, payment_id=payment_id, at=_now(), webhook=webhook)
    lapsed = await dependencies.ledger.do(work)
    dependencies.wake()
    return lapsed


async def create_refund(request: web.Request) -> web.Response:
    dependencies = request.app[DEPENDENCIES]
    new = _decode(await request.read(), NewRefund)
    fault = dependencies.faults.take(Step.REFUND, new.payment_id)
    kind = fault.kind if fault else None

    async def refund() -> web.Response:
        fails = Why() if kind is FaultKind.REFUND_FAILS else None
        work = partial(ledger.refund, new=new, at=_now(), fails=fails)
        made = await dependencies.ledger.do(work)
        if fault and kind is FaultKind.REFUND_FAILS_LATE:
            dependencies.late.start(fault.seconds, partial(_fail, dependencies, made.id, Why()))
        return _answer(made)

    return await answered(fault, request, refund)


async def fail_refund(request: web.Request) -> web.Response:
    why = _decode(await request.read() or b"{}", Why)
    return _answer(await _fail(request.app[DEPENDENCIES], _path_id(request), why))


async def _fail(dependencies: Dependencies, refund_id: str, why: Why) -> Refund:
    webhook = dependencies.delivery
    work = partial(ledger.fail_refund, refund_id=refund_id, why=why, at=_now(), webhook=webhook)
    failed = await dependencies.ledger.do(work)
    dependencies.wake()
    return failed


async def open_dispute(request: web.Request) -> web.Response:
    new = _decode(await request.read(), NewDispute)
    return _answer(await _open(request.app[DEPENDENCIES], new), status=201)


async def _open(dependencies: Dependencies, new: NewDispute) -> Dispute:
    work = partial(disputes.open_, new=new, at=_now(), webhook=dependencies.delivery)
    dispute = await dependencies.ledger.do(work)
    dependencies.wake()
    return dispute


async def get_dispute(request: web.Request) -> web.Response:
    work = partial(disputes.find, dispute_id=_path_id(request))
    return _answer(await request.app[DEPENDENCIES].ledger.do(work))


async def close_dispute(request: web.Request) -> web.Response:
    dependencies = request.app[DEPENDENCIES]
    decision = _decode(await request.read(), Decision)
    work = partial(
        disputes.close,
        dispute_id=_path_id(request),
        decision=decision,
        at=_now(),
        webhook=dependencies.delivery,
    )
    dispute = await dependencies.ledger.do(work)
    dependencies.wake()
    return _answer(dispute)


async def read_ledger(request: web.Request) -> web.Response:
    after = _number(request, "after", default=0, least=0, most=2**63 - 1)
    limit = _number(request, "limit", default=100, least=1, most=MAX_PAGE)
    since, until = _moment(request, "since"), _moment(request, "until")
    found = await request.app[DEPENDENCIES].ledger.do(
        partial(lines.entries, after=after, limit=limit + 1, since=since, until=until)
    )
    page = found[:limit]
    return _answer(Entries(data=page, next_after=page[-1].id if len(found) > limit else None))


async def read_lines_of_payment(request: web.Request) -> web.Response:
    payment_id = _path_id(request)
    found = await request.app[DEPENDENCIES].ledger.do(
        partial(lines.entries_of, payment_id=payment_id)
    )
    return _answer(Entries(data=found, next_after=None))


async def add_fault(request: web.Request) -> web.Response:
    fault = _decode(await request.read(), Fault)
    request.app[DEPENDENCIES].faults.add(fault)
    return _answer(fault, status=201)


async def list_faults(request: web.Request) -> web.Response:
    return _answer({"data": request.app[DEPENDENCIES].faults.pending})


async def clear_faults(request: web.Request) -> web.Response:
    request.app[DEPENDENCIES].faults.clear()
    return web.Response(status=204)


@web.middleware
async def _open_to_pages(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Let pages of any origin make payment methods and read the answer (CORS; Fetch, §3.2)."""
    if request.path != PAYMENT_METHODS:
        return await handler(request)
    if request.method == "OPTIONS":
        return web.Response(status=204, headers=_PREFLIGHT)
    answer = await handler(request)
    answer.headers.update(_FOR_PAGES)
    return answer


@web.middleware
async def _guard(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Check the key, and turn errors into answers."""
    try:
        _admit(request)
        return await handler(request)
    except ApiError as error:
        return _error(error.status, error.code, error.message, error.param)
    except web.HTTPException as error:
        return _error(error.status, error.reason.lower().replace(" ", "_"), error.reason)
    except Exception as error:
        # Log only where it happened, never any values: they may be card data.
        where = traceback.format_tb(error.__traceback__)[-1]
        log.error("request failed", error=type(error).__name__, where=where)
        return _error(500, "api_error", "An internal error occurred and was logged.")


def _admit(request: web.Request) -> None:
    """Check that the request has the right key.

    The secret key cannot make payment methods, because the shop's server that has it must never
    handle card numbers. A hosted page is begun by the shop's pages, which have the other key.

    Raises:
        Unauthorized: there is no valid key.
        Forbidden: the key is for other routes.
    """
    if request.path.startswith(f"{PREFIX}/"):
        return  # browsers open these
    dependencies = request.app[DEPENDENCIES]
    given = request.headers.get("Authorization", "").encode(errors="replace")
    secret, publishable = (
        hmac.compare_digest(given, b"Bearer " + key.encode())
        for key in (dependencies.api_key, dependencies.publishable_key)
    )
    if not (secret or publishable):
        raise Unauthorized("unauthorized", "Send a key as a bearer token.")
    for_pages = request.path == PAYMENT_METHODS or _is_of_a_session(request.path)
    if for_pages and not publishable:
        raise Forbidden("publishable_key_required", "Send the publishable key.")
    if publishable and not for_pages:
        raise Forbidden(
            "secret_key_required", "Send the secret key: the publishable key is not enough."
        )


def _is_of_a_session(path: str) -> bool:
    return path == SESSIONS or path.startswith(f"{SESSIONS}/")


def _decode(body: bytes, kind: type[Body]) -> Body:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        if not isinstance(error, msgspec.ValidationError):
            raise BadRequest("parameter_invalid", "Send the body as valid JSON.") from None
        # msgspec quotes the input only for unknown enum members, and a card has no enum.
        rule, _, path = str(error).partition(" - at `$.")
        param = path.rstrip("`") or None
        what = "" if " matching regex " in rule else f": {rule[0].lower()}{rule[1:]}"
        message = f"`{param}` is not valid{what}." if param else f"The body is not valid{what}."
        raise BadRequest("parameter_invalid", message, param) from None


def _path_id(request: web.Request) -> str:
    try:
        return msgspec.convert(request.match_info["id"], Id)
    except msgspec.ValidationError:
        raise BadRequest("parameter_invalid", "`id` is not a valid id.", "id") from None


def _number(request: web.Request, name: str, *, default: int, least: int, most: int) -> int:
    given = request.query.get(name)
    if given is None:
        return default
    if not (given.isascii() and given.isdigit() and len(given) < 20):
        raise BadRequest("parameter_invalid", f"`{name}` must be a whole number.", name)
    if not least <= int(given) <= most:
        raise BadRequest("parameter_invalid", f"`{name}` must be from {least:,} to {most:,}.", name)
    return int(given)


def _moment(request: web.Request, name: str) -> datetime | None:
    given = request.query.get(name)
    if given is None:
        return None
    try:
        return msgspec.convert(given, Annotated[datetime, msgspec.Meta(tz=True)])
    except msgspec.ValidationError:
        raise BadRequest(
            "parameter_invalid", f"`{name}` must be a time with its zone.", name
        ) from None


def _answer(content: object, status: int = 200) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(content), status=status, content_type="application/json"
    )


def _error(status: int, code: str, message: str, param: str | None = None) -> web.Response:
    error = {"code": code, "message": message}
    if param:
        error["param"] = param
    return _answer({"error": error}, status=status)


def _now() -> datetime:
    return datetime.now(UTC)
