"""The story of one order: all requests, messages and writes about it, in the order of time."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .evidence import Evidence
from .history import History
from .promises import order_of

_LOUD = ("waiting for", "still waiting")
AROUND = 3.0
"""Faults are included from this many seconds before the order's first line until after its last."""

Line = tuple[float, str, str]


def story(order_id: str, evidence: Evidence, history: History, logs: Path) -> str:
    """Return what happened to the order, one line per event: time, place, event."""
    payments = {
        payment_id: payment
        for payment_id, payment in evidence.payments.items()
        if payment["order_id"] == order_id
    }
    ids = (order_id, *payments)
    keys = {call.key for call in history.calls if call.key and order_of(call) == order_id}
    calls = [
        call
        for call in history.calls
        if call.key in keys or order_of(call) == order_id or any(each in call.path for each in ids)
    ]
    traces = {call.trace for call in calls if call.trace}
    lines: list[Line] = []
    for call in calls:
        what = f"{call.method} {call.path} {call.key or ''} {_brief(call.body)}"
        end = f"{call.status} {call.code or call.error or _brief(call.answer)}"
        lines.append((call.at, "customer", f"asks {what}"))
        lines.append((call.at + call.took, "customer", f"gets {end} to {call.key or call.path}"))
    lines += _written(order_id, evidence, payments)
    lines += _logged(logs, ids, traces)
    if lines:
        first, last = min(lines)[0] - AROUND, max(lines)[0] + AROUND
        lines += [
            (fault.at, "FAULT", fault.what) for fault in history.faults if first < fault.at < last
        ]
    return "\n".join(
        f"{datetime.fromtimestamp(at, UTC):%H:%M:%S.%f} {where:<14} {what}"
        for at, where, what in sorted(lines)
    )


def _written(order_id: str, evidence: Evidence, payments: dict[str, Any]) -> Iterator[Line]:
    if reservation := evidence.reservations.get(order_id):
        what = f"reservation made; now {reservation['status']}, {reservation['order_sequence']}"
        yield reservation["held_at"].timestamp(), "products db", what
    if order := evidence.orders.get(order_id):
        yield order["updated_at"].timestamp(), "orders db", f"last write: {order['status']}"
        for entry in order["timeline"]:
            yield entry["at"].timestamp(), "orders db", f"{entry['type']} by {entry['by']}"
    for payment_id, payment in payments.items():
        for entry in payment["timeline"]:
            what = f"{payment_id} {entry['type']} by {entry['by']}; now {payment['status']}"
            yield entry["at"].timestamp(), "payments db", what
    for line in evidence.ledger:
        if line["payment_id"] in payments:
            at = datetime.fromisoformat(line["at"]).timestamp()
            yield at, "provider", f"{line['kind']} {line['payment_id']} {line.get('amount')}"
    for mail in evidence.mails.values():
        if mail["order_id"] == order_id:
            what = f"mail of {mail['reason']}: {mail['status']}, {mail['sends']} times"
            yield mail["created_at"].timestamp(), "notifications", what


def _logged(logs: Path, ids: tuple[str, ...], traces: set[str]) -> Iterator[Line]:
    for file in sorted(logs.glob("*.log")):
        for text in file.read_text(errors="replace").splitlines():
            if not any(word in text for word in (*ids, *traces)):
                continue
            try:
                entry: dict[str, Any] = json.loads(text)
                at = datetime.fromisoformat(entry.pop("timestamp")).timestamp()
            except (ValueError, KeyError):
                continue
            if entry.get("event", "").startswith(_LOUD):
                continue
            yield at, file.stem, _brief({**entry, "process": file.stem}, 400)


def _brief(content: Any, limit: int = 120) -> str:
    text = json.dumps(content, default=str) if content is not None else ""
    return text if len(text) <= limit else f"{text[:limit]}…"
