"""The addresses that mail may be sent to."""

import pytest

from cartwheel.contracts.mail_address import InvalidMailAddress, for_mail


@pytest.mark.parametrize(
    ("address", "sent_to"),
    [
        ("ada@example.com", "ada@example.com"),
        ("ada+shop@example.org", "ada+shop@example.org"),
        ("o'brien@shop.test", "o'brien@shop.test"),
        ("ada@bücher.de", "ada@xn--bcher-kva.de"),
    ],
)
def test_an_address_is_converted_to_the_form_that_ses_accepts(address: str, sent_to: str) -> None:
    assert for_mail(address) == sent_to


@pytest.mark.parametrize(
    "address",
    [
        "",
        "ada",
        "ada@localhost",
        "<script>x@example.com",
        "a<b@x>y",
        "a,b@example.com",
        "x@example..com",
        "Ada <ada@example.com>",
        '"a b"@example.com',
        "ada@[127.0.0.1]",
        "zoë@example.com",
        "a" * 65 + "@example.com",
        "ada@example.com\n",
        "ada@example.com\r\nBcc: bob@example.com",
        "a\0@example.com",
        "a\x07@example.com",
        "a\u202eb@example.com",
        "ada@example\u2066.com",
        "ada@\ud800.com",
    ],
)
def test_an_invalid_address_is_refused_with_printable_text(address: str) -> None:
    with pytest.raises(InvalidMailAddress) as refused:
        for_mail(address)

    assert str(refused.value).isprintable()
