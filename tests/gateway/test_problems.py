import asyncio
import contextlib
import http.client
import json
import re
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from litestar._parsers import parse_query_string
from structlog.typing import EventDict

from cartwheel.contracts import text
from cartwheel.gateway.bodies import MAX_BODY

from .conftest import Gateway
from .probes import SECRET

ITEMS = "/api/v1/probe/items"
LIST = "/api/v1/probe/list"
RAISE = "/api/v1/probe/raise"
A_QUANTITY = "must be a whole number from 1 to 1,000."
UNKNOWN_IN_ITEM = "has an unknown field. Its fields are quantity."


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [
        ("invalid", 422, "invalid"),
        ("unauthenticated", 401, "unauthenticated"),
        ("forbidden", 403, "forbidden"),
        ("not_found", 404, "not_found"),
        ("conflict", 409, "test_out_of_stock"),
        ("stale", 412, "stale"),
        ("throttled", 429, "too_many_requests"),
        ("refused", 409, "refused"),
        ("unavailable", 503, "unavailable"),
        ("overloaded", 503, "overloaded"),
        ("outcome_unknown", 503, "outcome_unknown"),
        ("timed_out", 504, "timed_out"),
        ("crash", 500, "internal"),
        ("group", 500, "internal"),
    ],
)
async def test_each_refusal_and_outage_has_its_status_and_code(
    gateway: Gateway, name: str, status: int, code: str
) -> None:
    reply = await gateway.get(f"{RAISE}/{name}")
    assert (reply.status, reply.problem["code"]) == (status, code)
    assert set(reply.problem) >= {"type", "title", "status", "detail", "code", "trace_id"}
    assert ("Retry-After" in reply.headers) == (status in (429, 503))
    assert SECRET not in reply.body.decode()
    assert b"Traceback" not in reply.body


async def test_a_refusal_hands_on_its_detail_and_fields(gateway: Gateway) -> None:
    conflict = await gateway.get(f"{RAISE}/conflict")
    assert conflict.problem["detail"] == "Only 2 are left."
    assert "errors" not in conflict.problem
    invalid = await gateway.get(f"{RAISE}/invalid")
    assert invalid.problem["errors"] == [{"field": "items[0]", "message": "unknown product"}]


@pytest.mark.parametrize(
    ("body", "field", "message"),
    [
        ({"items": [{"quantity": "2"}]}, "items[0].quantity", A_QUANTITY),
        ({"items": [{"quantity": 1.5}]}, "items[0].quantity", A_QUANTITY),
        ({"items": [{"quantity": True}]}, "items[0].quantity", A_QUANTITY),
        ({"items": [{"quantity": None}]}, "items[0].quantity", A_QUANTITY),
        ({"items": [{"quantity": 0}]}, "items[0].quantity", A_QUANTITY),
        ({"items": [{"quantity": -1}]}, "items[0].quantity", A_QUANTITY),
        ({"items": [{"quantity": 10**30}]}, "items[0].quantity", A_QUANTITY),
        ({"items": [{"quantity": 1}, {}]}, "items[1].quantity", "is required."),
        ({"items": []}, "items", "must be a list of at least 1 items."),
        ({"items": {}}, "items", "must be a list of at least 1 items."),
        ({"nothing": 1}, "", "has an unknown field. Its fields are items, note, colour, box."),
        ({"items": [{"quantity": 1, "_id": 1}]}, "items[0]", UNKNOWN_IN_ITEM),
        ({"items": [{"quantity": 1, "kind": SECRET}]}, "items[0]", UNKNOWN_IN_ITEM),
        ({"colour": SECRET}, "colour", "must be null or one of red, blue."),
        ({"box": {"kind": SECRET}}, "box.kind", "must be one of wide, high."),
        ({"box": {}}, "box.kind", "is required."),
        ({"box": {"kind": "wide", SECRET: 1}}, "box", "has an unknown field."),
        ({"box": {"kind": "wide", "width": "1"}}, "box.width", "must be a whole number."),
        ({"items": [{"quantity": 1}], "note": 5}, "note", "must be text."),
        ([1], "", "must be a JSON object."),
        ("text", "", "must be a JSON object."),
    ],
)
async def test_a_body_of_the_wrong_shape_is_422_and_names_the_field(
    gateway: Gateway, body: object, field: str, message: str
) -> None:
    sentence = f"`{field}` {message}" if field else f"The body {message}"
    reply = await gateway.post(ITEMS, body)
    assert reply.status == 422
    assert reply.problem["errors"] == [{"field": field, "message": sentence}]
    assert reply.problem["detail"] == sentence
    assert SECRET not in reply.body.decode()


@pytest.mark.parametrize(
    "name",
    [
        SECRET,
        f"x` - at `$.{SECRET}",
        f"x` - at `$.items[{SECRET}].quantity",
        f"x` - at `$.items[0].quantity.{SECRET}",
        f"x` - at `key` in `$.{SECRET}",
    ],
)
@pytest.mark.parametrize("at", ["", "items[0]"])
async def test_the_name_of_an_unknown_field_is_not_repeated_whatever_it_pretends_to_be(
    gateway: Gateway, name: str, at: str
) -> None:
    body = {"items": [{"quantity": 1, name: 1}]} if at else {name: 1}
    reply = await gateway.post(ITEMS, body)
    assert reply.status == 422
    assert [fault["field"] for fault in reply.problem["errors"]] == [at]
    assert SECRET not in reply.body.decode()


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"{'items': []}",
        b'{"items": [{"quantity": 1}]} trailing',
        b'{"items": [{"quantity": 1}], "note": "\xff"}',
        b'{"items": [{"quantity": 1}], "note": "\\ud800"}',
        b"\xef\xbb\xbf{}",
        b" ",
        b"",
        b"nan",
        b"\x00",
    ],
)
async def test_a_body_that_is_not_json_is_400(gateway: Gateway, body: bytes) -> None:
    reply = await gateway.post(ITEMS, body, headers={"Content-Type": "application/json"})
    assert (reply.status, reply.problem["code"]) == (400, "malformed_json")


@pytest.mark.parametrize("body", [b"[" * 200_000, b'{"items":' * 20_000, b'{"x":' + b"[" * 200_000])
async def test_a_body_of_a_hundred_thousand_brackets_is_refused(
    gateway: Gateway, body: bytes
) -> None:
    reply = await gateway.post(ITEMS, body, headers={"Content-Type": "application/json"})
    assert reply.status in (400, 422)
    assert reply.problem


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/xml", "", "application/x-www-form-urlencoded", ";;;"]
)
async def test_a_body_that_does_not_claim_to_be_json_is_415(gateway: Gateway, kind: str) -> None:
    reply = await gateway.post(
        ITEMS, b'{"items": [{"quantity": 1}]}', headers={"Content-Type": kind}
    )
    assert (reply.status, reply.problem["code"]) == (415, "unsupported_media_type")


async def test_a_content_type_may_have_parameters_and_capitals(gateway: Gateway) -> None:
    kind = {"Content-Type": "Application/JSON; charset=utf-8"}
    reply = await gateway.post(ITEMS, b'{"items": [{"quantity": 3}]}', headers=kind)
    assert (reply.status, reply.body) == (201, b"3")


async def test_a_body_may_be_left_out_where_it_is_optional(gateway: Gateway) -> None:
    path = "/api/v1/probe/maybe"
    assert (await gateway.call("POST", path)).body == b"false"
    assert (await gateway.post(path, {"items": [{"quantity": 3}]})).body == b"true"
    assert (await gateway.post(path, {"items": []})).status == 422


async def test_ten_megabytes_are_413_before_they_have_been_sent(gateway: Gateway) -> None:
    head = (
        f"POST {ITEMS} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Content-Length: 10000000\r\n\r\n"
    )
    reader, writer = await gateway.connect()
    writer.write(head.encode() + b"[" * 1000)
    async with asyncio.timeout(8):  # the server waits 10 s for the rest
        assert (await reader.readline()).startswith(b"HTTP/1.1 413 ")
    writer.close()


async def test_ten_megabytes_are_413_to_a_client_that_reads_only_after_sending_all(
    gateway: Gateway,
) -> None:
    def send() -> tuple[int, bytes, int]:
        client = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=30)
        with contextlib.closing(client):
            client.request("POST", ITEMS, b"[" * 10_000_000, {"Content-Type": "application/json"})
            refused = client.getresponse()
            body = refused.read()
            client.request("GET", LIST)  # the connection is as good as new
            return refused.status, body, client.getresponse().status

    status, body, after = await asyncio.to_thread(send)
    assert (status, json.loads(body)["code"], after) == (413, "body_too_large", 200)


async def test_a_body_of_unknown_length_is_413_when_it_grows_too_long(gateway: Gateway) -> None:
    sent = 0

    async def endless() -> AsyncGenerator[bytes]:
        nonlocal sent
        while sent < 50_000_000:
            sent += 65_536
            yield b"[" * 65_536

    async with gateway.session.post(
        ITEMS, data=endless(), headers={"Content-Type": "application/json"}
    ) as response:
        assert response.status == 413
    assert sent < 20_000_000


async def test_a_body_just_within_the_limit_is_accepted(gateway: Gateway) -> None:
    body = json.dumps({"items": [{"quantity": 1}], "note": ""}).encode()
    padded = body[:-2] + b"x" * (MAX_BODY - len(body)) + body[-2:]
    kind = {"Content-Type": "application/json"}
    assert (await gateway.post(ITEMS, padded, headers=kind)).status == 201
    assert (await gateway.post(ITEMS, padded + b" ", headers=kind)).status == 413


@pytest.mark.parametrize(
    "given",
    ["abc", "0", "101", "-1", "1.5", "", "1e3", "9" * 40, "%FF", "%00", "%ZZ", "true"],
)
async def test_a_query_parameter_that_is_not_valid_is_422_and_named(
    gateway: Gateway, given: str
) -> None:
    answer = await gateway.send_raw(
        f"GET {LIST}?limit={given} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
    )
    assert answer.startswith(b"HTTP/1.1 422 "), answer
    content: Any = json.loads(answer.partition(b"\r\n\r\n")[2])
    message = "`limit` must be a whole number from 1 to 100."
    assert content["errors"] == [{"field": "limit", "message": message}]


async def test_a_wrong_enum_value_is_422_and_lists_the_allowed_ones(gateway: Gateway) -> None:
    reply = await gateway.get(f"{LIST}?colour={SECRET}")
    assert reply.status == 422
    assert reply.problem["detail"] == "`colour` must be one of red, blue."


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("limit=7&q=x", ["q"]),
        ("utm_source=mail&limit=7&limits=8&q", ["utm_source", "limits", "q"]),
        ("q=1&q=2", ["q"]),
        ("Limit=7", ["Limit"]),
        (f"q={SECRET}", ["q"]),
        # Only what is surely no more than a word is repeated.
        (f"{SECRET}=1&{SECRET}1=1", [""]),
        ("%00=%ff", [""]),
        ("=7", [""]),
        ("<b>=7", [""]),
        ("a" * 31, [""]),
    ],
)
async def test_unknown_query_parameters_are_422_and_named_if_they_are_plain_words(
    gateway: Gateway, query: str, fields: list[str]
) -> None:
    reply = await gateway.get(f"{LIST}?{query}")
    assert (reply.status, reply.problem["code"]) == (422, "unknown_parameter")
    assert [fault["field"] for fault in reply.problem["errors"]] == fields
    assert reply.problem["detail"] == "This address takes only the query parameters colour, limit."
    assert SECRET not in reply.body.decode()


async def test_a_header_that_is_not_valid_is_422_and_named_as_it_was_sent(gateway: Gateway) -> None:
    reply = await gateway.get(f"{LIST}?limit=0", headers={"Idempotency-Key": SECRET * 16})
    assert (reply.status, reply.problem["code"]) == (422, "invalid")
    named = {fault["field"] for fault in reply.problem["errors"]}
    assert named == {"Idempotency-Key", "limit"}
    assert SECRET not in reply.body.decode()


async def test_a_parameter_given_twice_is_422_and_named(gateway: Gateway) -> None:
    for query in ("limit=7&limit=8", "limit=7&limit=7", "limit=x&limit"):
        reply = await gateway.get(f"{LIST}?{query}")
        assert (reply.status, reply.problem["code"]) == (422, "invalid")
        assert [fault["field"] for fault in reply.problem["errors"]] == ["limit"]
    assert (await gateway.get(f"{LIST}?&&limit=7&")).body == b"7"


async def test_null_is_no_way_to_leave_out_a_filter(gateway: Gateway) -> None:
    for value in ("null", "NULL"):
        reply = await gateway.get(f"{LIST}?colour={value}")
        assert (reply.status, reply.problem["code"]) == (422, "invalid")
        assert [fault["field"] for fault in reply.problem["errors"]] == ["colour"]


async def test_a_flood_of_parameters_is_422_and_nothing_of_it_is_remembered(
    gateway: Gateway,
) -> None:
    for query in ("&" * 7_000, "a&" * 3_500, f"a={'x' * 7_000}"):
        answer = await gateway.send_raw(
            f"GET {LIST}?{query} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
        )
        assert answer.startswith(b"HTTP/1.1 422 "), answer
        assert len(answer) < 1000
    before = parse_query_string.cache_info().currsize
    for number in range(10):
        assert (await gateway.get(f"{LIST}?a={number}")).status == 422
    assert parse_query_string.cache_info().currsize == before


async def test_addresses_without_parameters_take_none(gateway: Gateway) -> None:
    addresses = ("/api", "/api/openapi.json", "/api/assets/start.js", "/health/live")
    for path in (*addresses, f"{RAISE}/conflict"):
        reply = await gateway.get(f"{path}?v=1")
        assert (reply.status, reply.problem["code"]) == (422, "unknown_parameter")
        assert reply.problem["detail"] == "This address takes no query parameters."
    # The path comes first: what is not there has no parameters.
    assert (await gateway.get("/nope?v=1")).status == 404
    assert (await gateway.call("PUT", f"{LIST}?v=1")).status == 405
    assert (await gateway.call("OPTIONS", f"{LIST}?v=1")).status == 204


async def test_unauthenticated_callers_learn_nothing_about_parameters(gateway: Gateway) -> None:
    for path in ("whoami", "admins-only"):
        assert (await gateway.get(f"/api/v1/probe/{path}?v=1")).status == 401


async def test_an_unknown_address_is_404(gateway: Gateway) -> None:
    for path in ("/nope", "/api/v1", "/api/v1/nope", "/api/nope", "/api/v1/probe/raise"):
        reply = await gateway.get(path)
        assert (reply.status, reply.problem["code"]) == (404, "no_such_route"), path


async def test_a_wrong_method_is_405_and_tells_the_right_ones(gateway: Gateway) -> None:
    for method in ("GET", "PUT", "DELETE", "PATCH", "TRACE"):
        reply = await gateway.call(method, ITEMS)
        assert (reply.status, reply.problem["code"]) == (405, "method_not_allowed")
        assert set(reply.headers["Allow"].split(", ")) == {"POST", "OPTIONS"}
    assert (await gateway.call("HEAD", ITEMS)).status == 405


@pytest.mark.parametrize(
    "path",
    [f"{LIST}?limit=5", f"{LIST}?limit=0", f"{RAISE}/crash", "/api", "/api/assets/start.js", "/no"],
)
async def test_head_is_get_without_the_body(gateway: Gateway, path: str) -> None:
    asked = f" {path} HTTP/1.1\r\nHost: x\r\n".encode()
    both = await gateway.send_raw(
        b"HEAD" + asked + b"\r\nGET" + asked + b"Connection: close\r\n\r\n"
    )
    _, head, got = both.split(b"HTTP/1.1 ")
    told, _, body = got.partition(b"\r\n\r\n")
    assert f"content-length: {len(body)}".encode() in told
    assert head.endswith(b"\r\n\r\n")
    assert _lasting(head) == _lasting(told)


def _lasting(head: bytes) -> list[bytes]:
    """Return the status and the headers that are the same each time."""
    changing = (b"date: ", b"x-request-id: ", b"connection: ")
    return [line for line in head.strip().split(b"\r\n") if not line.startswith(changing)]


@pytest.mark.parametrize(
    "lines",
    [
        b"GET /api/v1/probe/raise/%00 HTTP/1.1\r\nHost: x",
        b"GET /api/v1/probe/raise/%ff%fe HTTP/1.1\r\nHost: x",
        b"GET /api/v1/probe/raise/%zz HTTP/1.1\r\nHost: x",
        b"GET /api/v1/probe/raise/\xff HTTP/1.1\r\nHost: x",
        b"GET /api/v1/probe/slow/nan%20x HTTP/1.1\r\nHost: x",
        b"GET //../../etc/passwd HTTP/1.1\r\nHost: x",
        b"GET /api/assets/..%2f..%2fLICENSE HTTP/1.1\r\nHost: x",
        b"GET http://[::1 HTTP/1.1\r\nHost: x",
        b"GET /nope HTTP/1.1\r\nHost: a b<>",
        b"GET /nope HTTP/1.1\r\nHost: x\r\nHost: y",
        b"GET /nope HTTP/1.1",
        b"GET /nope HTTP/9.9\r\nHost: x",
        b"GET /nope HTTP/1.1\r\nHost: x\r\nX: \x00",
        b"GET /nope HTTP/1.1\r\nHost: x\r\n: empty",
        b"GET /nope HTTP/1.1\r\nHost: x\r\nX-\xff: \xff",
        b"GET /nope HTTP/1.1\r\nHost: x\r\ntraceparent: \xff\xff",
        b"BREW /nope HTTP/1.1\r\nHost: x",
        b"CONNECT example.com:443 HTTP/1.1\r\nHost: x",
        b"OPTIONS * HTTP/1.1\r\nHost: x",
        b"GET /nope HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade",
        b"GET /nope HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: Upgrade",
        b"POST /nope HTTP/1.1\r\nHost: x\r\nContent-Length: -1",
        b"POST /nope HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2",
        b"POST /nope HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked",
        b"PRI * HTTP/2.0",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x00" * 100,
    ],
)
async def test_a_request_that_makes_no_sense_is_a_4xx_problem(
    gateway: Gateway, lines: bytes
) -> None:
    answer = await gateway.send_raw(lines + b"\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 4"), answer
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head
    assert json.loads(body)["code"]


async def test_a_request_continues_the_trace_it_names(gateway: Gateway) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    named = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    assert (await gateway.get(LIST, headers=named)).headers["X-Request-Id"] == trace
    own = [(await gateway.get(LIST)).headers["X-Request-Id"] for _ in range(2)]
    assert own[0] != own[1] != trace


async def test_the_log_has_a_line_per_request_and_no_secret(
    gateway: Gateway, logged: list[EventDict]
) -> None:
    await gateway.post(
        f"{ITEMS}?password={SECRET}",
        {"items": [{"quantity": SECRET}]},
        headers={"Authorization": f"Bearer {SECRET}", "Cookie": SECRET},
    )
    await gateway.get(f"/nope/{SECRET}")
    await gateway.call("PUT", f"{RAISE}/{SECRET}")
    await gateway.call("PROPFIND", f"/{SECRET}")
    await gateway.call("HEAD", f"{RAISE}/{SECRET}")
    await gateway.get("/health/live")
    requests = [line for line in logged if line["event"] == "request"]
    assert [(line["method"], line["path"], line["status"]) for line in requests] == [
        ("POST", ITEMS, 422),
        ("GET", "(no route)", 404),
        ("PUT", "(no route)", 405),
        ("(other)", "(no route)", 404),
        ("HEAD", f"{RAISE}/{{name}}", 404),
    ]
    assert SECRET not in str(logged)


async def test_a_crash_is_logged_with_the_trace_that_the_client_was_told(
    gateway: Gateway, logged: list[EventDict]
) -> None:
    reply = await gateway.get(f"{RAISE}/crash")
    (crash,) = [line for line in logged if line["event"] == "crashed"]
    assert crash["trace_id"] == reply.problem["trace_id"]
    assert isinstance(crash["exc_info"], RuntimeError)


async def test_an_error_message_has_words_for_every_pattern_of_the_api(real: Gateway) -> None:
    document = (await real.get("/api/openapi.json")).body.decode()
    patterns = {
        json.loads(found) for found in re.findall(r'"pattern":("(?:[^"\\]|\\.)*")', document)
    }
    assert text.LINE in patterns
    assert patterns <= text.IN_WORDS.keys()
