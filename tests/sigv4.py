"""The server side of Signature Version 4, written from AWS's documentation, not from botocore.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from urllib.parse import quote

from aiohttp import web

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/]+)/(?P<scope>[^,]+), "
    r"SignedHeaders=(?P<names>[^,]+), Signature=(?P<signature>[0-9a-f]{64})"
)
_MUST_BE_SIGNED = {"host", "content-type", "x-amz-date"}
_CLOCKS_MAY_DIFFER = timedelta(minutes=5)


class Secret(NamedTuple):
    key: str
    token: str | None = None


async def fault(
    request: web.Request, secrets: Mapping[str, Secret], *, region: str, service: str
) -> str | None:
    """Return AWS's error code for the signature; None if it is valid. `secrets` are by key id."""
    found = _AUTHORIZATION.fullmatch(request.headers.get("Authorization", ""))
    if found is None:
        return "MissingAuthenticationTokenException"
    if (secret := secrets.get(found["key"])) is None:
        return "UnrecognizedClientException"
    if request.headers.get("X-Amz-Security-Token") != secret.token:
        return "UnrecognizedClientException"
    at = request.headers["X-Amz-Date"]
    sent = datetime.strptime(at, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    if abs(datetime.now(UTC) - sent) > _CLOCKS_MAY_DIFFER:
        return "InvalidSignatureException"
    names = found["names"].split(";")
    required = _MUST_BE_SIGNED | ({"x-amz-security-token"} if secret.token else set[str]())
    if not required <= set(names) or names != sorted(names):
        return "IncompleteSignatureException"
    scope = f"{at[:8]}/{region}/{service}/aws4_request"
    canonical = "\n".join(
        (
            request.method,
            quote(request.url.raw_path),
            request.query_string,
            *(f"{name}:{' '.join(request.headers[name].split())}" for name in names),
            "",
            found["names"],
            hashlib.sha256(await request.read()).hexdigest(),
        )
    )
    to_sign = f"AWS4-HMAC-SHA256\n{at}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{secret.key}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    expected = hmac.digest(key, to_sign.encode(), "sha256").hex()
    right = found["scope"] == scope and hmac.compare_digest(found["signature"], expected)
    return None if right else "SignatureDoesNotMatch"
