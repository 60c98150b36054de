"""The API's OpenAPI document, against which everything that the server answers is checked."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import aiohttp
import jsonschema_rs
import msgspec

_ROOT = "urn:openapi"


class Operation(NamedTuple):
    """`described` is what the document says of it; `path` the template, with the server."""

    method: str
    path: str
    described: Any


class Document:
    def __init__(self, content: Any) -> None:
        self.content = content
        self._registry = jsonschema_rs.Registry([(_ROOT, content)])
        self._validators: dict[str, jsonschema_rs.Validator] = {}
        self.operations = [
            Operation(method.upper(), f"{server.rstrip('/')}{path}", described)
            for path, those in content["paths"].items()
            for server in [(those.get("servers") or content["servers"])[0]["url"]]
            for method, described in those.items()
            if method != "servers"
        ]

    def resolved(self, part: Any) -> Any:
        """Return `part` of the document, or what it refers to."""
        while "$ref" in part:
            target = self.content
            for step in part["$ref"].removeprefix("#/").split("/"):
                target = target[step]
            part = target
        return part

    def check_answer(
        self, method: str, path: str, status: int, headers: Mapping[str, str], text: str
    ) -> None:
        """Check that the document says that this may be answered."""
        about = f"{method} {path} → {status} {text}"
        methods = self._at(path)
        if not methods:
            assert status in (404, 405), f"{about}: no such path is described"
            return
        if method == "OPTIONS":
            assert status == 204, about
            return
        described = methods.get("GET" if method == "HEAD" else method)
        if described is None:
            assert status == 405, f"{about}: no such method is described"
            return
        assert str(status) in described["responses"], f"{about}: no such status is described"
        answer = self.resolved(described["responses"][str(status)])
        for name, header in answer["headers"].items():
            told = self.resolved(header)
            assert not told["required"] or name in headers, f"{about}: no header {name}"
        self._check_content(method, answer.get("content", {}), headers, text, about)

    def check_taken(self, method: str, path: str, body: Any) -> None:
        """Check that the document says that a body may be sent which the server has taken."""
        content = self._at(path)[method].get("requestBody", {}).get("content", {})
        assert content, f"{method} {path} has taken a body that is not described"
        self.check_schema(content["application/json"]["schema"], body, f"{method} {path}")

    def _at(self, path: str) -> dict[str, Any]:
        """Return what is described at a path, by method."""
        path = path.partition("?")[0]
        matching = [each for each in self.operations if _matches(each.path, path)]
        # `/orders/{order_id}` and `/orders/mine`, say: the one without a parameter counts.
        template = min(
            (each.path for each in matching), key=lambda each: each.count("{"), default=""
        )
        return {each.method: each.described for each in matching if each.path == template}

    def _check_content(
        self, method: str, content: Any, headers: Mapping[str, str], text: str, about: str
    ) -> None:
        if not content:
            assert not text, f"{about}: no body is described"
            return
        media_type = headers["Content-Type"].partition(";")[0]
        assert media_type in content, f"{about}: {media_type} is not described"
        if method == "HEAD":
            assert not text, about
            return
        body = msgspec.json.decode(text)
        self.check_schema(content[media_type]["schema"], body, about)
        if media_type == "application/problem+json":
            codes = content[media_type]["examples"]
            assert body["code"] in codes, f"{about}: {body['code']} is not described"

    def check_schema(self, schema: Any, body: Any, about: str) -> None:
        key = msgspec.json.encode(schema).decode()
        validator = self._validators.get(key)
        if validator is None:
            absolute = msgspec.json.decode(key.replace('"#/', f'"{_ROOT}#/'))
            validator = self._validators[key] = jsonschema_rs.Draft202012Validator(
                absolute, registry=self._registry, validate_formats=True
            )
        for error in validator.iter_errors(body):
            raise AssertionError(f"{about}: {error.message} at {error.instance_path}")


def _matches(template: str, path: str) -> bool:
    parts = re.split(r"\{\w+\}", template)
    return re.fullmatch("[^/]+".join(map(re.escape, parts)), path) is not None


async def read_document(http: aiohttp.ClientSession) -> Document:
    async with http.get("/api/openapi.json") as response:
        return Document(await response.json(content_type=None))
