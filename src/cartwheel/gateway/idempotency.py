"""Idempotency-Key: the same key and body return the first success again, even after a crash.

The gateway does not store the key. It becomes the id under which the service stores what it
created, so that no crash can separate the two
(https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/).
"""

import hashlib
import uuid
from typing import Annotated, Any, TypeVar

import msgspec
from litestar import Response
from litestar.params import HeaderParameter

from cartwheel.gateway.described import Header
from cartwheel.gateway.identity import Identity
from cartwheel.kernel import Created

Item = TypeVar("Item")

IdempotencyKey = Annotated[
    str | None,
    HeaderParameter(
        name="Idempotency-Key",
        description="Choose one for each new thing. If you send the request again with the same "
        "key, nothing is done twice, and you get the first answer again",
        min_length=1,
        max_length=255,
    ),
]

UnkeptKey = Annotated[
    str | None,
    HeaderParameter(
        name="Idempotency-Key",
        description="Accepted, but not needed: this operation makes nothing that could keep it. "
        "Its description says what a repeat answers",
        min_length=1,
        max_length=255,
    ),
]
"""Of a POST that makes nothing. A client may send a key with each POST."""

CREATED = {
    "Location": Header(
        description="The path of what was created", example="/api/v1/orders/ord_01a203e602b5"
    ),
    "Idempotency-Replayed": Header(
        description="`true` if an earlier request with the same `Idempotency-Key` created it",
        example="true",
        always=False,
    ),
}
"""The headers of a 201."""

_NAMESPACE = uuid.UUID("6f9a2f5e-3c1b-5d8e-9a47-2b61c0f4d7e3")


def request_id(identity: Identity, key: str | None) -> str:
    """Return the id of a user's request: the same for the same key, a new one without a key."""
    return str(uuid.uuid5(_NAMESPACE, f"{identity.user_id}\n{key}") if key else uuid.uuid4())


def body_hash(body: Any) -> str:
    """Return a digest of the decoded `body`, independent of spacing and field order."""
    return hashlib.sha256(msgspec.json.encode(body, order="deterministic")).hexdigest()


def created(answer: Created[Item], location: str) -> Response[Item]:
    """Return 201 with the location, and a header if an earlier request created the thing."""
    headers = {"Location": location}
    if answer.replayed:
        headers["Idempotency-Replayed"] = "true"
    return Response(answer.made, status_code=201, headers=headers)
