"""The promises that `cartwheel verify` cannot check, as pure functions of the evidence.

They are about customers' requests and answers, the mail that SES accepted, and time. Each must hold
when the system is quiet, whatever happened before. The numbers are those of docs/reliability.md.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator

import msgspec

from .evidence import Document, Evidence
from .history import Call
from .lookups import faults_of_addresses, faults_of_numbers

ANSWERS_WITHIN = 12.0
"""Seconds: the deadline of a request (10), and 2 to travel."""

BACK_WITHIN = 15.0
"""Seconds after the last fault in which requests may still fail."""

_EXPECTED_REFUSALS = (
    "insufficient_stock",
    "stock_changed",
    "invalid_transition",
    "payment_in_progress",
    "idempotency_key_reused",
    "too_many_open_orders",
    "too_many_pieces",
    "price_changed",
    "payment_not_cancelable",
    "payment_not_captured",
    "payment_disputed",
    "refund_exceeds_capture",
    "too_many_addresses",
    "not_paid",
    "capture_failed",  # some issuers do not pay what they have reserved
    "nothing_left_to_ship",
    "nothing_to_return",
    "order_shipped",
    "address_not_found",  # a deletion whose answer was lost, repeated
)


class Violation(msgspec.Struct, frozen=True):
    """A broken promise: its number, what is wrong, and the order, if it concerns one."""

    promise: int
    what: str
    order_id: str | None = None


REFUNDING = "/refunds"
"""The end of the paths where payments are refunded."""

ADJUSTING = "/stock-adjustments"
"""The end of the paths where stock is adjusted."""

Check = Callable[[Evidence], Iterable[Violation]]


def accepted_orders_are_kept(evidence: Evidence) -> Iterator[Violation]:
    """1: an order answered with 201 is stored as answered."""
    for call in _answered(evidence, "POST", "/orders", 201):
        said = call.answer
        order = evidence.orders.get(said["id"])
        if order is None:
            yield Violation(1, f"order {said['id']} was accepted, but is gone", said["id"])
            continue
        for field in ("number", "lines", "total", "user"):
            if order[field] != said[field]:
                yield Violation(
                    1, f"order's {field} is {order[field]}, not as answered", said["id"]
                )


def accepted_payments_are_kept(evidence: Evidence) -> Iterator[Violation]:
    """1: a payment that was answered exists, and its verdict stands."""
    paid = ("PAID", "PARTIALLY_REFUNDED", "REFUNDED")  # a refund may come back
    decided = ("AUTHORIZED", *paid, "REJECTED", "CANCELED")
    after = {
        "AWAITING_PAYMENT": ("AWAITING_PAYMENT", "REQUIRES_ACTION", *decided),
        "REQUIRES_ACTION": ("REQUIRES_ACTION", *decided),
        "AUTHORIZED": ("AUTHORIZED", *paid, "CANCELED"),
        **dict.fromkeys(paid, paid),
        "REJECTED": ("REJECTED",),
        "CANCELED": ("CANCELED",),
    }
    for call in evidence.calls:
        made = call.method == "POST" and call.path == "/payments" and call.status == 201
        confirmed = call.path.endswith("/confirm") and call.status == 200
        given_up = _cancels(call, "payments") and call.status == 200
        if not made and not confirmed and not given_up:
            continue
        said = call.answer
        payment = evidence.payments.get(said["id"])
        if payment is None:
            yield Violation(1, f"payment {said['id']} was answered, but is gone", said["order_id"])
        elif payment["status"] not in after[said["status"]]:
            what = f"payment {said['id']} was {said['status']}, but is {payment['status']}"
            yield Violation(1, what, said["order_id"])
        elif payment["amount"] != said["amount"]:
            yield Violation(1, f"payment {said['id']} has another amount", said["order_id"])


def goods_go_where_the_payment_said(evidence: Evidence) -> Iterator[Violation]:
    """1: the address accepted with a payment becomes the order's, when the order knows the payment.

    All payments of an order are requested with the same address.
    """
    for call in _answered(evidence, "POST", "/payments", 201):
        said = call.answer
        order = evidence.orders.get(said["order_id"])
        if order is None or order["status"] not in ("AWAITING_PAYMENT", "AUTHORIZED", "PAID"):
            continue
        if said["id"] in (order["paid_by"], *order["begun_payments"], *order["declined_payments"]):
            wanted = call.body["shipping_address"]
            address: Document = order["shipping_address"] or {}
            if not wanted.items() <= address.items():
                yield Violation(1, f"the goods go to {address}, not to {wanted}", order["_id"])


def cancellations_are_kept(evidence: Evidence) -> Iterator[Violation]:
    """1: an order that was answered as canceled is canceled; or a rest of it is called off."""
    for call in evidence.calls:
        if not _cancels(call, "orders") or call.status != 200:
            continue
        order = evidence.orders.get(call.answer["id"])
        called_off = [each["id"] for each in call.answer.get("called_off", [])]
        if called_off and order is not None:
            if [each["id"] for each in order["called_off"]] != called_off:
                what = "a rest was answered as called off, but is not"
                yield Violation(1, what, call.answer["id"])
        elif order is None or order["status"] != "CANCELED":
            yield Violation(1, "an order was answered as canceled, but is not", call.answer["id"])


def parcels_and_returns_are_kept(evidence: Evidence) -> Iterator[Violation]:
    """1: a parcel or return that was answered is in its order, once for each key."""
    made: dict[tuple[str, str, str | None], set[str]] = defaultdict(set)
    for call in evidence.calls:
        what = call.path.rpartition("/")[2]
        if what not in ("shipments", "returns") or call.status != 201:
            continue
        said, order_id = call.answer, call.path.split("/")[2]
        made[call.who, call.path, call.key].add(said["id"])
        order: Document = evidence.orders.get(order_id) or {what: []}
        kept = next((each for each in order[what] if each["id"] == said["id"]), None)
        if kept is None:
            yield Violation(1, f"{said['id']} was accepted, but is gone", order_id)
        elif [line["quantity"] for line in kept["lines"]] != [
            line["quantity"] for line in said["lines"]
        ]:
            yield Violation(1, f"{said['id']} has other lines than were answered", order_id)
    for (_, path, key), ids in made.items():
        if len(ids) > 1:
            yield Violation(1, f"key {key} made {len(ids)} {path}", path.split("/")[2])


def what_was_accepted_is_found(evidence: Evidence) -> Iterator[Violation]:
    """1: a customer finds an accepted order at once."""
    for call in evidence.calls:
        if call.method == "GET" and call.status is not None and 400 <= call.status < 500:
            yield Violation(
                1, f"an accepted order was answered {call.status}", call.path.split("/")[-1]
            )


def one_order_per_key(evidence: Evidence) -> Iterator[Violation]:
    """1: a repeated request makes one order, and every order was requested."""
    made: dict[tuple[str, str | None], set[str]] = defaultdict(set)
    for call in _answered(evidence, "POST", "/orders", 201):
        made[call.who, call.key].add(call.answer["id"])
    for (_, key), orders in made.items():
        if len(orders) > 1:
            yield Violation(1, f"key {key} made {len(orders)} orders", min(orders))
    asked = {(call.who, call.key) for call in evidence.calls if call.path == "/orders"}
    if len(evidence.orders) > len(asked):
        yield Violation(1, f"{len(asked)} orders were requested, {len(evidence.orders)} exist")


def accepted_adjustments_are_kept(evidence: Evidence) -> Iterator[Violation]:
    """1: a 201 says what is stored, once for each key, and nobody adjusts what nobody asked for."""
    made: dict[tuple[str, str, str | None], set[str]] = defaultdict(set)
    asked: set[tuple[str, str, str | None]] = set()
    for call in evidence.calls:
        if call.method != "POST" or not call.path.endswith(ADJUSTING):
            continue
        request = (call.who, call.path, call.key)
        asked.add(request)
        if call.status != 201:
            continue
        said = call.answer
        made[request].add(said["id"])
        stored = evidence.adjustments.get(said["id"])
        if stored is None:
            yield Violation(1, f"adjustment {said['id']} was accepted and is gone")
            continue
        for field in ("product_id", "delta", "before", "after", "by"):
            if stored[field] != said[field]:
                what = f"adjustment's {field} is {stored[field]}, not as said"
                yield Violation(1, f"{said['id']}: {what}")
    for (_, _, key), ids in made.items():
        if len(ids) > 1:
            yield Violation(1, f"key {key} made {len(ids)} adjustments")
    if len(evidence.adjustments) > len(asked):
        what = f"{len(asked)} adjustments were asked for, {len(evidence.adjustments)} exist"
        yield Violation(1, what)


def accepted_refunds_are_kept(evidence: Evidence) -> Iterator[Violation]:
    """1: a 201 says what is stored, once for each key, and no refund is one that nobody wants."""
    made: dict[tuple[str, str | None], set[str]] = defaultdict(set)
    for call in evidence.calls:
        if call.method != "POST" or not call.path.endswith(REFUNDING) or call.status != 201:
            continue
        said = call.answer
        made[call.path, call.key].add(said["id"])
        payment = evidence.payments[call.path.split("/")[2]]
        stored = {each["id"]: each for each in payment["refunds"]}.get(said["id"])
        if stored is None or stored["amount"] != said["amount"]:
            what = f"refund {said['id']} was accepted, and is {stored}"
            yield Violation(1, what, payment["order_id"])
    for (_, key), ids in made.items():
        if len(ids) > 1:
            yield Violation(1, f"key {key} made {len(ids)} refunds")


def a_key_is_one_request_of_one_user(evidence: Evidence) -> Iterator[Violation]:
    """1: a key always stands for the same order or payment of its user, never of another."""
    first: dict[tuple[str, str, str | None], Call] = {}
    owners: dict[str, str] = {}
    for call in evidence.calls:
        request = (call.who, call.path, call.key)
        if call.key is None or call.status is None or call.status >= 500:
            continue
        if call.status == 201:
            owner = owners.setdefault(call.answer["id"], call.who)
            if owner != call.who:
                yield Violation(1, f"key {call.key} returned another user's", order_of(call))
            first.setdefault(request, call)
        made = first.get(request)
        other = made is not None and call.body != made.body
        if other != (call.code == "idempotency_key_reused"):
            what = f"key {call.key}, with {'another' if other else 'the same'} body: {call.status}"
            yield Violation(1, f"{what} {call.code}", order_of(call))


def addresses_are_kept_and_orders_found(evidence: Evidence) -> Iterator[Violation]:
    """1: what a customer keeps stays until they delete it; a number finds its order."""
    for what in (*faults_of_addresses(evidence), *faults_of_numbers(evidence)):
        yield Violation(1, what)


def cash_is_paid_when_it_was_confirmed(evidence: Evidence) -> Iterator[Violation]:
    """8: cash is PAID only if an administrator confirmed it."""
    confirmed = {
        call.path.split("/")[2] for call in evidence.calls if call.path.endswith("/confirm")
    }
    for payment_id, payment in evidence.payments.items():
        paid = payment["status"] in ("PAID", "PARTIALLY_REFUNDED", "REFUNDED")
        if payment["method"] == "cash_on_delivery" and paid and payment_id not in confirmed:
            yield Violation(8, f"nobody confirmed the cash of {payment_id}", payment["order_id"])


def nobody_has_more_than_is_allowed(evidence: Evidence) -> Iterator[Violation]:
    """11: unpaid orders of a customer, and pieces of a product in an order, are bounded."""
    live: dict[str, list[str]] = defaultdict(list)
    for order_id, reservation in evidence.reservations.items():
        order = evidence.orders.get(order_id)
        if order is not None and reservation["status"] == "HELD":
            live[order["user"]["id"]].append(order_id)
        most = max(line["quantity"] for line in reservation["lines"])
        if most > evidence.pieces_per_line:
            yield Violation(11, f"{most} pieces of a product were reserved", order_id)
    for order_ids in live.values():
        if evidence.open_orders and len(order_ids) > evidence.open_orders:
            yield Violation(11, f"a customer has {len(order_ids)} unpaid orders", min(order_ids))


def orders_cost_what_was_expected(evidence: Evidence) -> Iterator[Violation]:
    """12: whoever says what an order is to cost pays just that, if anything."""
    for call in _answered(evidence, "POST", "/orders", 201):
        expected = call.body.get("expected_total")
        if expected not in (None, call.answer["total"]):
            what = f"an order costs {call.answer['total']}, and {expected} was expected"
            yield Violation(12, what, call.answer["id"])


def giving_up_a_payment_is_no_failure(evidence: Evidence) -> Iterator[Violation]:
    """7: no mail tells of a payment that its payer has given up, and it is no attempt."""
    for order_id, order in evidence.orders.items():
        for payment_id in (*order["declined_payments"], *order["failed_payments"]):
            payment = evidence.payments.get(payment_id)
            if payment is not None and payment["status"] == "CANCELED":
                yield Violation(7, f"{payment_id} was given up, and counted as failed", order_id)


def nothing_is_dead_lettered(evidence: Evidence) -> Iterator[Violation]:
    """6: no event is dead-lettered, because none of these faults is an event's own."""
    for letter in evidence.dead_letters:
        headers = letter["headers"]
        what = f"{letter['queue']} has {headers.get('cloudEvents_type')}: {headers.get('reason')}"
        yield Violation(6, what, str(headers.get("cloudEvents_subject")))


def mail_was_sent_as_noted(evidence: Evidence) -> Iterator[Violation]:
    """7: the mail that SES accepted is the stored mail; mails sent twice are counted."""
    claims: Counter[tuple[str, str]] = Counter()
    for mail in evidence.mails.values():
        claims[mail["order_number"], mail["subject"]] += mail["sends"]
    sent = Counter(message["Subject"] for message in evidence.mailed)
    wanted = Counter(mail["subject"] for mail in evidence.mails.values())
    numbers = {order["number"]: order_id for order_id, order in evidence.orders.items()}
    for (number, subject), most in claims.items():
        if not wanted[subject] <= sent[subject] <= most:
            what = f"{sent[subject]} mails {subject!r} for {wanted[subject]} events, {most} tries"
            yield Violation(7, what, numbers.get(number))


def answers_are_proper_and_in_time(evidence: Evidence) -> Iterator[Violation]:
    """10: outages are 503 or 504 within the deadline, and faults cause no refusals."""
    for call in evidence.calls:
        what = f"{call.method} {call.path}: {call.status} {call.code or call.error}"
        if call.status is not None and call.status >= 500 and call.status not in (503, 504):
            yield Violation(10, what, order_of(call))
        if call.took > ANSWERS_WITHIN:
            yield Violation(10, f"{what}, after {call.took:.1f} s", order_of(call))
        refused = call.status is not None and 400 <= call.status < 500
        if refused and call.code not in _EXPECTED_REFUSALS:
            yield Violation(10, what, order_of(call))


def the_shop_is_back_soon(evidence: Evidence) -> Iterator[Violation]:
    """10: when all dependencies are up again, requests work again."""
    for call in evidence.calls:
        late = call.at > evidence.healed + BACK_WITHIN
        if late and (call.status is None or call.status >= 500):
            after = call.at - evidence.healed
            what = f"{call.method} {call.path}: {call.status} {call.code or call.error}"
            yield Violation(
                10, f"{what}, {after:.0f} s after everything was healed", order_of(call)
            )


def everybody_was_answered(evidence: Evidence) -> Iterator[Violation]:
    """1: a customer who repeats a request long enough gets an answer."""
    last: dict[tuple[str, str, str | None], Call] = {}
    for call in evidence.calls:
        last[call.who, call.path, call.key] = call
    for call in last.values():
        if call.status is None or call.status >= 500:
            yield Violation(
                1, f"{call.method} {call.path} never got more than {call.status}", order_of(call)
            )


CHECKS: tuple[Check, ...] = (
    accepted_orders_are_kept,
    accepted_payments_are_kept,
    goods_go_where_the_payment_said,
    cancellations_are_kept,
    parcels_and_returns_are_kept,
    what_was_accepted_is_found,
    one_order_per_key,
    accepted_adjustments_are_kept,
    accepted_refunds_are_kept,
    a_key_is_one_request_of_one_user,
    addresses_are_kept_and_orders_found,
    cash_is_paid_when_it_was_confirmed,
    nobody_has_more_than_is_allowed,
    orders_cost_what_was_expected,
    giving_up_a_payment_is_no_failure,
    nothing_is_dead_lettered,
    mail_was_sent_as_noted,
    answers_are_proper_and_in_time,
    the_shop_is_back_soon,
    everybody_was_answered,
)


def violations(evidence: Evidence) -> list[Violation]:
    return [violation for check in CHECKS for violation in check(evidence)]


def order_of(call: Call) -> str | None:
    """Return the order that a request is about, if known."""
    for content in (call.answer, call.body):
        match content:
            case {"order_id": str(order_id)}:
                return order_id
            case {"id": str(order_id)} if order_id.startswith("ord_"):
                return order_id
            case _:
                pass
    return next((part for part in call.path.split("/") if part.startswith("ord_")), None)


def _cancels(call: Call, what: str) -> bool:
    return call.path.startswith(f"/{what}/") and call.path.endswith("/cancel")


def _answered(evidence: Evidence, method: str, path: str, status: int) -> list[Call]:
    return [
        call
        for call in evidence.calls
        if (call.method, call.path, call.status) == (method, path, status)
    ]


def orders_concerned(found: Iterable[Violation]) -> list[str]:
    return list(dict.fromkeys(each.order_id for each in found if each.order_id))


__all__ = ["CHECKS", "Document", "Violation", "order_of", "orders_concerned", "violations"]
