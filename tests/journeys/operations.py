"""Every operation of the API's description, so that a new one is tested as soon as it is there."""

from collections.abc import Iterator, Mapping
from typing import Any

import aiohttp
import msgspec
from multidict import CIMultiDictProxy

EXAMPLES: Mapping[str, object] = {
    "country": "DE",
    "currency": "USD",
    "image_url": "https://example.com/robot.png",
    "code": "123456",
}


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """A request; `path` is the template, which `places` fill."""

    method: str
    path: str
    places: dict[str, str]
    query: dict[str, str]
    headers: dict[str, str]
    body: Any = None

    @property
    def address(self) -> str:
        return self.path.format(**self.places)


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """`sent` has a good example of every parameter and field."""

    id: str
    public: bool
    sent: Sent


class Got(msgspec.Struct, frozen=True, kw_only=True):
    sent: Sent
    status: int
    headers: CIMultiDictProxy[str]
    text: str

    def fields(self, status: int, code: str) -> list[str]:
        """Check that this is such a problem document; return the fields that it names."""
        problem = msgspec.json.decode(self.text)
        assert (self.status, problem["code"]) == (status, code), str(self)
        return [error["field"] for error in problem["errors"]]

    def __str__(self) -> str:
        return f"{self.sent} → {self.status} {dict(self.headers)} {self.text}"


class Api:
    """The API with its description."""

    def __init__(self, http: aiohttp.ClientSession, document: Any) -> None:
        self._http = http
        self._document = document

    def operations(self, **known: object) -> Iterator[Operation]:
        """Yield every operation; `known` are values of parameters and fields by their names.

        What deletes is last, so that the things are there for the others.
        """
        described = [
            (method, path, operation)
            for path, operations in self._document["paths"].items()
            for method, operation in operations.items()
        ]
        for method, path, operation in sorted(described, key=lambda each: each[0] == "delete"):
            yield self._operation(method, path, operation, {**EXAMPLES, **known})

    def _operation(
        self, method: str, path: str, described: Any, known: Mapping[str, object]
    ) -> Operation:
        given: dict[str, dict[str, str]] = {"path": {}, "query": {}, "header": {}}
        for parameter in described.get("parameters", []):
            example = self._example(parameter["schema"], parameter["name"], known)
            given[parameter["in"]][parameter["name"]] = str(example)
        content = described.get("requestBody", {}).get("content", {})
        schema = content.get("application/json", {}).get("schema")
        return Operation(
            id=described["operationId"],
            public=described.get("security") == [],
            sent=Sent(
                method=method.upper(),
                path=path,
                places=given["path"],
                query=given["query"],
                headers=given["header"],
                body=self._example(schema, "", known) if schema else None,
            ),
        )

    def _example(self, schema: Any, name: str, known: Mapping[str, object]) -> object:
        if name in known:
            return known[name]
        while "$ref" in schema:
            schema = self._document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        if "oneOf" in schema:
            return self._example(schema["oneOf"][0], name, known)
        if "properties" in schema:
            return {
                field: self._example(inner, field, known)
                for field, inner in schema["properties"].items()
            }
        if "items" in schema:
            return [self._example(schema["items"], "", known)]
        usual: object = 1 if schema["type"] == "integer" else "Robot"
        return schema.get("const") or [*schema.get("examples", schema.get("enum", [])), usual][0]

    async def send(self, sent: Sent, token: str = "") -> Got:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        if sent.body is not None:
            headers["Content-Type"] = "application/json"
        body = sent.body
        async with self._http.request(
            sent.method,
            sent.address,
            params=sent.query,
            headers={**headers, **sent.headers},
            data=body if isinstance(body, bytes | None) else msgspec.json.encode(body),
        ) as response:
            return Got(
                sent=sent,
                status=response.status,
                headers=response.headers,
                text=await response.text(),
            )


async def read_api(http: aiohttp.ClientSession) -> Api:
    async with http.get("/api/openapi.json") as response:
        return Api(http, await response.json(content_type=None))
