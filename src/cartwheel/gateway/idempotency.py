"""Idempotency-Key: the same key and body give the first success again, whatever happened between.

The key is not kept by the gateway: it becomes the id under which the service that does the work
stores what it made, so that no crash can part the two
(https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/).
"""

import hashlib
import uuid
from typing import Annotated, Any, TypeVar

import msgspec
from litestar import Response
from litestar.params import HeaderParameter

from cartwheel.gateway.identity import Identity
from cartwheel.kernel import Created

Item = TypeVar("Item")

IdempotencyKey = Annotated[
    str | None,
    HeaderParameter(
        name="Idempotency-Key",
        description="Send the same one to repeat a request without doing it twice",
        min_length=1,
        max_length=255,
    ),
]

_NAMESPACE = uuid.UUID("6f9a2f5e-3c1b-5d8e-9a47-2b61c0f4d7e3")


def request_id(identity: Identity, key: str | None) -> str:
    """Return the id of a user's request: the same for the same key, a new one without a key."""
    return str(uuid.uuid5(_NAMESPACE, f"{identity.user_id}\n{key}") if key else uuid.uuid4())


def body_hash(body: Any) -> str:
    """Return a digest of the decoded `body`, whatever its spacing or order of fields."""
    return hashlib.sha256(msgspec.json.encode(body, order="deterministic")).hexdigest()


def created(answer: Created[Item], location: str) -> Response[Item]:
    """Return 201 with where the thing is, and whether an earlier request had made it."""
    headers = {"Location": location}
    if answer.replayed:
        headers["Idempotency-Replayed"] = "true"
    return Response(answer.made, status_code=201, headers=headers)
