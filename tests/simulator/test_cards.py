from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cartwheel.simulator.cards import (
    READY_MADE,
    KnownCard,
    brand_of,
    passes_luhn,
    ready_made,
    recognise,
)
from cartwheel.simulator.errors import CardError

TODAY = date(2030, 6, 15)


def outcome(number: str, cvc: str = "123", month: int = 12, year: int = 2034) -> str | None:
    return recognise(number, month, year, cvc, today=TODAY).decline_code


@pytest.mark.parametrize(
    ("number", "cvc", "decline_code"),
    [
        ("4242424242424242", "123", None),
        ("4242 4242 4242 4242", "123", None),
        ("4242-4242-4242-4242", "123", None),
        ("5555555555554444", "123", None),
        ("378282246310005", "1234", None),
        ("4000000000000002", "123", "card_declined"),
        ("4000000000009995", "123", "insufficient_funds"),
        ("4111111111111111", "123", "test_mode_live_card"),
    ],
)
def test_a_test_card_behaves_as_stripe_says(
    number: str, cvc: str, decline_code: str | None
) -> None:
    assert outcome(number, cvc) == decline_code


@pytest.mark.parametrize(
    ("number", "cvc", "month", "year", "param"),
    [
        ("4242424242424241", "123", 12, 2034, "number"),
        ("4242", "123", 12, 2034, "number"),
        ("42424242424242424242", "123", 12, 2034, "number"),
        ("4242x42424242424", "123", 12, 2034, "number"),
        ("٤٢٤٢٤٢٤٢٤٢٤٢٤٢٤٢", "123", 12, 2034, "number"),
        ("", "123", 12, 2034, "number"),
        ("4242424242424242", "123", 0, 2034, "exp_month"),
        ("4242424242424242", "123", 13, 2034, "exp_month"),
        ("4242424242424242", "123", 5, 2030, "exp_month"),
        ("4242424242424242", "123", 12, 2029, "exp_year"),
        ("4242424242424242", "123", 12, 2081, "exp_year"),
        ("4242424242424242", "12", 12, 2034, "cvc"),
        ("4242424242424242", "1234", 12, 2034, "cvc"),
        ("4242424242424242", "12a", 12, 2034, "cvc"),
        ("378282246310005", "123", 12, 2034, "cvc"),
    ],
)
def test_an_invalid_card_is_refused_with_the_field(
    number: str, cvc: str, month: int, year: int, param: str
) -> None:
    with pytest.raises(CardError) as refused:
        outcome(number, cvc, month, year)

    assert refused.value.param == param


def test_the_ready_made_payment_methods_behave_as_stripe_says() -> None:
    assert {name: ready_made(name) for name in READY_MADE} == {
        name: KnownCard(brand=brand, last4=last4, decline_code=decline_code)
        for name, brand, last4, decline_code in (
            ("pm_card_visa", "visa", "4242", None),
            ("pm_card_mastercard", "mastercard", "4444", None),
            ("pm_card_amex", "amex", "0005", None),
            ("pm_card_discover", "discover", "1117", None),
            ("pm_card_chargeDeclined", "visa", "0002", "card_declined"),
            ("pm_card_visa_chargeDeclined", "visa", "0002", "card_declined"),
            ("pm_card_chargeDeclinedInsufficientFunds", "visa", "9995", "insufficient_funds"),
            ("pm_card_visa_chargeDeclinedInsufficientFunds", "visa", "9995", "insufficient_funds"),
            ("pm_card_chargeDeclinedExpiredCard", "visa", "0069", "expired_card"),
            ("pm_card_chargeDeclinedIncorrectCvc", "visa", "0127", "incorrect_cvc"),
        )
    } | {
        name: KnownCard(brand="visa", last4=last4, decline_code=decline_code, challenged=True)
        for name, last4, decline_code in (
            ("pm_card_threeDSecure2Required", "3220", None),
            ("pm_card_authenticationRequired", "3184", None),
            (
                "pm_card_authenticationRequiredChargeDeclinedInsufficientFunds",
                "3178",
                "insufficient_funds",
            ),
            ("pm_card_threeDSecureRequiredChargeDeclined", "1629", "card_declined"),
        )
    }


def test_a_card_is_good_until_the_end_of_its_month() -> None:
    assert outcome("4242424242424242", month=6, year=2030) is None


@pytest.mark.parametrize(
    ("number", "brand"),
    [
        ("4242424242424242", "visa"),
        ("5555555555554444", "mastercard"),
        ("2223003122003222", "mastercard"),
        ("2720990000000007", "mastercard"),
        ("378282246310005", "amex"),
        ("6011111111111117", "discover"),
        ("3056930009020004", "diners"),
        ("3566002020360505", "jcb"),
        ("2221000000000000", "mastercard"),
        ("2220999999999999", "unknown"),
        ("2721000000000000", "unknown"),
    ],
)
def test_the_first_digits_determine_the_brand(number: str, brand: str) -> None:
    assert brand_of(number) == brand


@given(st.from_regex(r"[0-9]{11,18}", fullmatch=True))
def test_exactly_one_check_digit_fits(digits: str) -> None:
    assert sum(passes_luhn(digits + check) for check in "0123456789") == 1
