"""Card numbers in texts: what is one, and which fields of the API must hold none."""

from collections.abc import Iterator
from typing import Any, cast

import pytest
from litestar.handlers import HTTPRouteHandler
from litestar.utils.typing import make_non_optional_union
from msgspec import inspect

from cartwheel.gateway.app import ROUTES
from cartwheel.gateway.card import CARD_FREE, CardDataNotAccepted, refuse_card_numbers
from cartwheel.gateway.card_numbers import holds_card_number

_OF_A_PRODUCT = ("name", "sku", "description", "category", "tags[]", "image_url")

MAY_HOLD_ONE = {
    *(f"create_product: {name}" for name in _OF_A_PRODUCT),
    *(f"update_product: {name}" for name in _OF_A_PRODUCT),
    "ship_order: carrier",
    "ship_order: tracking",
}
"""The texts that are stored as they were typed, whatever digits they have."""

NOT_STORED = {"email", "password", "old_password", "code", "refresh_token"}
"""What only Cognito reads."""


@pytest.mark.parametrize(
    "text",
    [
        "4242424242424242",
        "4242 4242 4242 4242",
        "4242-4242-4242-4242",
        "4242 - 4242 - 4242 - 4242",
        "4 2 4 2 4 2 4 2 4 2 4 2 4 2 4 2",
        "4242\u00a04242\u20114242\u22124242",
        "4242\u200b424242424242",
        "\uff14242424242424242",  # a full-width digit
        "card 4242424242424242, 12/34 917",
        "card 4242 4242 4242 4242 12 34 917",
        "1 4242424242424242 2",
        "x4242424242424242x",
        "3782 822463 10005",
        "378282246310005",
        "5555555555554444",
        "2223003122003222",
        "6011111111111117",
        "30569309025904",
        "36700102000000",
        "3566002020360505",
        "6200000000000005",
        "6759649826438453",
        "2200000000000053",
        "4222222222222",
        "4000000000000000006",
    ],
)
def test_a_card_number_is_found(text: str) -> None:
    assert holds_card_number(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "4242424242424241",  # another check digit
        "424242424242424",  # too short for its issuer
        "1234567812345670",  # passes the check, but no issuer has it
        "42424242424242424242",  # more digits than a card has
        "9994242424242424242",
        "4242,4242,4242,4242",
        "+49 30 901820, 10115 Berlin",
        "ord_01a203e602b5703283b24de369ecfb26",
        "2026-11-30 17:40:12.123456",
        "490154203237518",  # a telephone's IMEI
        "4006381333931",  # a bar code (EAN-13)
    ],
)
def test_anything_else_is_none(text: str) -> None:
    assert not holds_card_number(text)


def test_the_place_is_named_and_the_number_is_not() -> None:
    body = {"a": [{"b": "ok"}, {"c": "4242 4242 4242 4242"}], "d": "5555555555554444"}

    with pytest.raises(CardDataNotAccepted) as refused:
        refuse_card_numbers(body, [""])
    with pytest.raises(CardDataNotAccepted):
        refuse_card_numbers(body, ["x", "d"])
    refuse_card_numbers(body, ["b", "x"])

    assert [error.field for error in refused.value.errors] == ["a[1].c"]
    assert "42" not in repr((refused.value.detail, refused.value.errors))


def test_every_text_of_the_api_is_free_of_card_numbers_or_listed_here() -> None:
    """A new field must be one or the other."""
    found = {
        f"{handler.handler_name}: {place}"
        for handler in _operations()
        for place in _texts(_body_of(handler))
        if not _is_checked(handler, place) and place not in NOT_STORED
    }

    assert found == MAY_HOLD_ONE


def _operations() -> Iterator[HTTPRouteHandler]:
    for router in ROUTES:
        for route in router.routes:
            for handler in cast("Any", route).route_handlers:
                if handler.parsed_data_field:
                    yield handler


def _body_of(handler: HTTPRouteHandler) -> Any:
    field = handler.parsed_data_field
    assert field
    kind = make_non_optional_union(field.annotation) if field.is_optional else field.annotation
    return inspect.type_info(kind)


def _is_checked(handler: HTTPRouteHandler, place: str) -> bool:
    return any(place.startswith(field) for field in handler.opt.get(CARD_FREE, ()))


def _texts(kind: inspect.Type, place: str = "") -> Iterator[str]:
    """Yield the places of free texts in a body: those whose pattern lets 12 digits through."""
    match kind:
        case inspect.Metadata(type=inner):
            yield from _texts(inner, place)
        case inspect.UnionType(types=types):
            for each in types:
                yield from _texts(each, place)
        case inspect.StructType(fields=fields):
            for field in fields:
                name = field.encode_name
                yield from _texts(field.type, f"{place}.{name}" if place else name)
        case inspect.ListType(item_type=item):
            yield from _texts(item, f"{place}[]")
        case inspect.StrType() if place.rpartition(".")[2] not in ("product_id", "currency"):
            yield place
        case _:
            pass


def test_an_id_may_hold_a_card_number_by_chance() -> None:
    by_chance = "01a2f4242424242424242abcdef01234"

    refuse_card_numbers({"order_id": f"ord_{by_chance}"}, ("",))
    with pytest.raises(CardDataNotAccepted):
        refuse_card_numbers({"order_id": by_chance}, ("",))
