"""What the running system answers is on docs/errors.md."""

import http.client
from urllib.parse import urlsplit

import msgspec
import pytest

from cartwheel.local.up import System

from . import errors


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", "/nothing", {}),
        ("DELETE", "/health/live", {}),
        ("GET", "/health/live", {"Host": "two of them"}),
        ("GET", "/api/v1/products?limit=none", {}),
        ("GET", "/api/v1/products?colour=red", {}),
        ("GET", "/api/v1/products?cursor=!", {}),
        ("GET", "/api/v1/products/none", {}),
        ("POST", "/api/v1/auth/login", {}),
        ("GET", "/api/v1/orders", {"Authorization": "Bearer none"}),
    ],
)
def test_what_a_client_meets_is_on_the_page(
    system: System, method: str, path: str, headers: dict[str, str]
) -> None:
    connection = http.client.HTTPConnection(urlsplit(system.url).netloc, timeout=10)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    code = msgspec.json.decode(answer.read())["code"]
    connection.close()

    section = errors.PAGE.read_text().partition(f"## {answer.status}\n")[2].partition("\n## ")[0]
    assert f"| `{code}` |" in section
