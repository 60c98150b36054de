import json
import re
from typing import Any

from .conftest import Gateway


async def test_the_docs_page_loads_nothing_from_elsewhere(gateway: Gateway) -> None:
    page = await gateway.get("/api")
    assert page.headers["Content-Type"].startswith("text/html")
    policy = page.headers["Content-Security-Policy"]
    for directive in ("default-src", "form-action", "frame-ancestors", "base-uri"):
        assert f"{directive} 'none'" in policy
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert "http" not in policy
    found = re.findall(r'(?:src|href)="([^"]+)"', page.body.decode())
    assert len(found) >= 4
    for address in found:
        assert address.startswith("/api/")
        asset = await gateway.get(address)
        assert asset.status == 200
        assert asset.headers.getall("X-Content-Type-Options") == ["nosniff"]
        assert asset.headers.getall("Cache-Control") == ["public, max-age=86400"]
        assert asset.headers["Referrer-Policy"] == "no-referrer"
    start = await gateway.get("/api/assets/start.js")
    assert b"http" not in start.body
    assert b"/api/openapi.json" in start.body


async def test_only_the_assets_of_the_page_are_served(gateway: Gateway) -> None:
    for name in ("index.html", "..%2f__init__.py", "swagger-ui-bundle.js.map", "%2fetc%2fpasswd"):
        assert (await gateway.get(f"/api/assets/{name}")).status == 404


async def test_the_description_is_openapi_3_1_and_every_reference_leads_somewhere(
    real: Gateway,
) -> None:
    document = (await real.get("/api/openapi.json")).json
    assert document["openapi"].startswith("3.1")
    assert document["info"]["title"]
    assert document["info"]["version"]
    found = references(document)
    assert len(found) > 10
    for reference in found:
        target: Any = document
        for step in reference.removeprefix("#/").split("/"):
            target = target[step]


async def test_every_operation_is_described_and_says_who_may_call_it(real: Gateway) -> None:
    document = (await real.get("/api/openapi.json")).json
    assert "bearer" in document["components"]["securitySchemes"]
    assert document["security"] == [{"bearer": []}]
    names: list[str] = []
    tags = {tag["name"] for tag in document["tags"]}
    for path, operations in document["paths"].items():
        for operation in operations.values():
            names.append(operation["operationId"])
            assert operation["summary"].endswith("."), path
            assert set(operation["tags"]) <= tags
            public = operation.get("security") == []
            assert public != ("401" in operation["responses"]), path
            assert "400" not in operation["responses"], "that is Litestar's own form"
            problem = operation["responses"]["4XX"]["$ref"]
            assert problem == "#/components/responses/Problem"
    assert len(names) == len(set(names))
    assert "security" not in document["paths"]["/api/v1/auth/me"]["get"]


async def test_the_described_limits_of_a_field_are_those_that_are_checked(real: Gateway) -> None:
    document = (await real.get("/api/openapi.json")).json
    name = document["components"]["schemas"]["SignUp"]["properties"]["name"]
    assert (name["minLength"], name["maxLength"]) == (1, 100)
    assert name["examples"]


def references(part: Any) -> list[str]:
    text = json.dumps(part)
    return re.findall(r'"\$ref": "([^"]+)"', text)
