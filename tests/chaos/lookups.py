"""The promises about addresses, and about finding orders again, as in `promises`."""

from collections import defaultdict
from collections.abc import Iterator

from .evidence import Evidence
from .history import Call

MOST_ADDRESSES = 20
BY_NUMBER = "/orders?number="


def faults_of_addresses(evidence: Evidence) -> Iterator[str]:
    """An address is kept once for each key until its user deletes it, and at most 20 are."""
    kept = {
        user_id: {each["id"] for each in book["addresses"]}
        for user_id, book in evidence.addresses.items()
    }
    for user_id, ids in kept.items():
        if len(ids) > MOST_ADDRESSES:
            yield f"user {user_id} keeps {len(ids)} addresses"
    begun = {call.path.rpartition("/")[2] for call in _deletions(evidence)}
    deleted = {call.path.rpartition("/")[2] for call in _deletions(evidence) if call.status == 204}
    made: dict[tuple[str, str | None], set[str]] = defaultdict(set)
    for call in evidence.calls:
        if (call.method, call.path, call.status) != ("POST", "/addresses", 201):
            continue
        address_id = call.answer["id"]
        made[call.who, call.key].add(address_id)
        if address_id not in begun and address_id not in kept.get(call.who, ()):
            yield f"address {address_id} was accepted, but is gone"
        if address_id in deleted and address_id in kept.get(call.who, ()):
            yield f"address {address_id} was deleted, but is kept"
    for (_, key), ids in made.items():
        if len(ids) > 1:
            yield f"key {key} made {len(ids)} addresses"


def faults_of_numbers(evidence: Evidence) -> Iterator[str]:
    """An accepted order is found by its number at once."""
    for call in evidence.calls:
        if call.path.startswith(BY_NUMBER) and call.status == 200:
            number = call.path.removeprefix(BY_NUMBER)
            if [each["number"] for each in call.answer["data"]] != [number]:
                yield f"order {number} was accepted, but is not found by its number"


def _deletions(evidence: Evidence) -> list[Call]:
    return [
        call
        for call in evidence.calls
        if call.method == "DELETE" and call.path.startswith("/addresses/")
    ]
