"""All operations in the OpenAPI document, so that a new one is tested automatically."""

from collections.abc import Iterator, Mapping
from typing import Any, cast

import aiohttp
import msgspec
from multidict import CIMultiDictProxy

from .document import Document, read_document
from .document import Operation as Described


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """A request. `path` is the template, which `places` fill in."""

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
    """An operation. `sent` has a valid example of every parameter and field. `visited` ones need no
    token while the catalogue is public."""

    id: str
    public: bool
    visited: bool
    sent: Sent


class Got(msgspec.Struct, frozen=True, kw_only=True):
    sent: Sent
    status: int
    headers: CIMultiDictProxy[str]
    text: str

    def fields(self, status: int, code: str) -> list[str]:
        """Check status and code of this problem document; return the fields that it names."""
        problem = msgspec.json.decode(self.text)
        assert (self.status, problem["code"]) == (status, code), str(self)
        return [error["field"] for error in problem["errors"]]

    def __str__(self) -> str:
        return f"{self.sent} → {self.status} {dict(self.headers)} {self.text}"


class Api:
    """The API with its OpenAPI document, against which each answer is checked."""

    def __init__(self, http: aiohttp.ClientSession, document: Document) -> None:
        self._http = http
        self._document = document

    def operations(self, **known: object) -> Iterator[Operation]:
        """Yield every operation with the document's example.

        `known` are values of parameters and fields, by name.

        Operations that delete come last, so that the others still find their resources.
        """
        described = self._document.operations
        for each in sorted(described, key=lambda each: each.method == "DELETE"):
            yield self._operation(each, known)

    def _operation(self, operation: Described, known: Mapping[str, object]) -> Operation:
        given: dict[str, dict[str, str]] = {"path": {}, "query": {}, "header": {}}
        described = operation.described
        for parameter in described.get("parameters", []):
            name = parameter["name"]
            example = parameter["example"] if "example" in parameter else self._usual(parameter)
            given[parameter["in"]][name] = str(known.get(name, example))
        content = described.get("requestBody", {}).get("content", {})
        example = content.get("application/json", {}).get("example")
        return Operation(
            id=described["operationId"],
            public=described.get("security") == [],
            visited={} in described.get("security", []),
            sent=Sent(
                method=operation.method,
                path=operation.path,
                places=given["path"],
                query=given["query"],
                headers=given["header"],
                body=_filled(example, known),
            ),
        )

    def _usual(self, parameter: Any) -> Any:
        schema = self._document.resolved(parameter["schema"])
        return schema["default"] if "default" in schema else schema["enum"][0]

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
            text = await response.text()
            self._document.check_answer(
                sent.method, sent.address, response.status, response.headers, text
            )
            return Got(sent=sent, status=response.status, headers=response.headers, text=text)


def _filled(example: Any, known: Mapping[str, object]) -> Any:
    """Return an example with the values that are `known`, by their names."""
    if isinstance(example, list):
        return [_filled(each, known) for each in cast("list[Any]", example)]
    if not isinstance(example, dict):
        return example
    fields = cast("dict[str, Any]", example)
    return {name: known.get(name, _filled(value, known)) for name, value in fields.items()}


async def read_api(http: aiohttp.ClientSession) -> Api:
    return Api(http, await read_document(http))
