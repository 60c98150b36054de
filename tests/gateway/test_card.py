"""A payment that brings a card in place of a token."""

import pytest

from cartwheel.gateway.card import CardDataNotAccepted, refuse_card_data


@pytest.mark.parametrize(
    "method",
    [
        b'{"type":"card","number":"4242 4242 4242 4242"}',
        b'{"type":"card","number":null}',
        b'{"cvc":"917"}',
        b'{"exp_month":12}',
        b'{"exp_year":2034}',
        b'{"type":"card","card":{"number":"4242"}}',
        b'{"token":"4242424242424242"}',
        b'{"token":"4242-4242-4242-4241"}',
        b'{"token":4242424242424242}',
        b'{"token":"pm_1","number":{"deep":[[1]]}}',
    ],
)
def test_a_cards_own_data_is_recognised(method: bytes) -> None:
    with pytest.raises(CardDataNotAccepted) as refused:
        refuse_card_data(b'{"order_id":"ord_1","method":%b}' % method)

    assert [error.field for error in refused.value.errors] == ["method"]
    told = repr((refused.value.detail, refused.value.errors))
    assert not any(digit in told for digit in "0123456789")


@pytest.mark.parametrize(
    "body",
    [
        b'"4242 4242 4242 4242"',
        b'{"method":"4242424242424242"}',
        b'{"method":[{"a":"4242424242424242"}]}',
        b'{"order_id":4242424242424242}',
        b'{"shipping_address":{"name":"4242424242424242"}}',
        b'{"4242424242424242":1}',
        b'{"x":"\\u00342424242\\u002042424242"}',
        b'{"x":' + b"[" * 300 + b'"4242424242424242"' + b"]" * 300 + b"}",
    ],
)
def test_a_card_number_is_found_anywhere(body: bytes) -> None:
    with pytest.raises(CardDataNotAccepted) as refused:
        refuse_card_data(body)

    assert "42" not in repr((refused.value.detail, refused.value.errors))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'{"method":null}',
        b'{"method":{}}',
        b'{"method":{"type":"card","token":"pm_card_visa","holder":"Grace Hopper"}}',
        b'{"method":{"token":"x"}}',
        b'{"method":{"token":"4242"}}',
        b'{"method":{"token":null}}',
        b'{"method":{"number":"4242424242424242"}',
        b'{"method":{"x":' + b"[" * 100_000,
        b'{"method":{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}}",
    ],
)
def test_anything_else_is_left_to_others(body: bytes) -> None:
    refuse_card_data(body)
