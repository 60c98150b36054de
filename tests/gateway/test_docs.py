import json
import re
from typing import Any

from ..journeys.document import Document
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
    for path, operation in described(document):
        names.append(operation["operationId"])
        assert operation["summary"].endswith("."), path
        assert set(operation["tags"]) <= tags
        public = operation.get("security") == []
        visited = operation.get("security") == [{}, {"bearer": []}]
        assert visited == (operation["operationId"] in ("list_products", "get_product"))
        assert public != ("invalid_token" in codes(operation, "401")), path
        assert not {"4XX", "5XX", "default"} & operation["responses"].keys(), path
    assert len(names) == len(set(names)) > 20
    assert "security" not in document["paths"]["/auth/me"]["get"]


async def test_the_document_names_no_host_and_its_components_are_classes(real: Gateway) -> None:
    document = (await real.get("/api/openapi.json")).json
    assert document["servers"] == [{"url": "/api/v1"}]
    for path, operations in document["paths"].items():
        elsewhere = [{"url": "/"}] if path.startswith("/health/") else None
        assert operations.get("servers") == elsewhere, path
    schemas = document["components"]["schemas"]
    titles = [schema["title"] for schema in schemas.values()]
    assert titles == list(schemas)
    for components in document["components"].values():
        assert [name for name in components if not re.fullmatch("[A-Za-z0-9]+", name)] == []
    assert {"Order", "OrderPage", "ShippingAddress", "NewShippingAddress"} <= schemas.keys()


async def test_bodies_take_nothing_else_and_answers_may_get_more(real: Gateway) -> None:
    document = (await real.get("/api/openapi.json")).json
    schemas = document["components"]["schemas"]
    for name in ("NewOrder", "OrderItem", "NewShippingAddress", "ByCard", "SignUp", "Price"):
        assert schemas[name]["additionalProperties"] is False, name
    for name in ("Order", "OrderPage", "Problem", "Payment", "Money"):
        assert "additionalProperties" not in schemas[name], name


async def test_an_answer_says_what_null_means(real: Gateway) -> None:
    document = (await real.get("/api/openapi.json")).json
    said = [
        (name, field, told.get("description", ""))
        for name, schema in document["components"]["schemas"].items()
        if "additionalProperties" not in schema
        for field, told in schema.get("properties", {}).items()
        if {"type": "null"} in told.get("anyOf", []) and name != "Verdict"  # a provider's, not ours
    ]
    assert len(said) > 10
    assert [each for each in said if not each[2]] == []


async def test_money_is_in_minor_units_and_tells_so(real: Gateway) -> None:
    schemas = (await real.get("/api/openapi.json")).json["components"]["schemas"]
    for name in ("Money", "Price"):
        assert "minor units" in schemas[name]["properties"]["amount"]["description"]


async def test_a_field_tells_the_method_of_a_payment(real: Gateway) -> None:
    document = (await real.get("/api/openapi.json")).json
    schemas = document["components"]["schemas"]
    method = schemas["NewPayment"]["properties"]["method"]
    assert method["discriminator"]["propertyName"] == "type"
    kinds = method["discriminator"]["mapping"]
    assert [{"$ref": kind} for kind in kinds.values()] == method["oneOf"]
    for told, kind in kinds.items():
        assert schemas[kind.rpartition("/")[2]]["properties"]["type"]["const"] == told


async def test_only_canceling_and_accepting_need_no_body(real: Gateway) -> None:
    document = (await real.get("/api/openapi.json")).json
    optional = [
        operation["operationId"]
        for _, operation in described(document)
        if not operation.get("requestBody", {"required": True})["required"]
    ]
    assert optional == ["cancel_order", "accept_return"]


async def test_each_example_is_of_its_schema(real: Gateway) -> None:
    document = Document((await real.get("/api/openapi.json")).json)
    seen = 0
    for _, operation in described(document.content):
        answers = [document.resolved(each) for each in operation["responses"].values()]
        for told in [operation.get("requestBody", {}), *answers]:
            for content in told.get("content", {}).values():
                examples = [
                    document.resolved(each)["value"]
                    for each in content.get("examples", {}).values()
                ]
                examples += [content["example"]] if "example" in content else []
                assert examples, operation["operationId"]
                for example in examples:
                    document.check_schema(content["schema"], example, operation["operationId"])
                    seen += 1
    assert seen > 100


async def test_each_parameter_says_what_it_is(real: Gateway) -> None:
    document = (await real.get("/api/openapi.json")).json
    for path, operation in described(document):
        for parameter in operation.get("parameters", []):
            assert parameter["description"], (path, parameter)
            assert "null" not in json.dumps(parameter["schema"]), (path, parameter)


async def test_the_index_leads_to_everything(gateway: Gateway) -> None:
    index = await gateway.get("/")
    assert index.headers["Content-Type"] == "application/json"
    assert index.json["name"] == "Cartwheel"
    assert index.json["version"]
    links = index.json["links"]
    assert links.pop("api") == "/api/v1"
    assert {"documentation", "openapi", "live", "ready"} == links.keys()
    for address in links.values():
        assert (await gateway.get(address)).status == 200


async def test_the_described_limits_of_a_field_are_those_that_are_checked(real: Gateway) -> None:
    document = (await real.get("/api/openapi.json")).json
    name = document["components"]["schemas"]["SignUp"]["properties"]["name"]
    assert (name["minLength"], name["maxLength"]) == (1, 100)
    assert name["examples"]


def described(document: Any) -> list[tuple[str, Any]]:
    """Return each operation with its path."""
    return [
        (path, operation)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if method != "servers"
    ]


def codes(operation: Any, status: str) -> list[str]:
    answer = operation["responses"].get(status, {"content": {}})
    return [code for content in answer["content"].values() for code in content["examples"]]


def references(part: Any) -> list[str]:
    text = json.dumps(part)
    return re.findall(r'"\$ref": "([^"]+)"', text)
