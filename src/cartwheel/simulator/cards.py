"""The test cards, and the checks of a card that need no issuer.

Numbers, names and codes are Stripe's (https://docs.stripe.com/testing). Any other number that
passes the Luhn check becomes a payment method, but its charges are declined: it may be a real card.
"""

import re
from datetime import date

import msgspec

from cartwheel.simulator.errors import CardError


class Failure(msgspec.Struct, frozen=True):
    """Why an issuer declined. The message may be shown to the customer."""

    code: str
    message: str


PAYS = frozenset(
    {
        "4242424242424242",
        "5555555555554444",
        "2223003122003222",
        "378282246310005",
        "6011111111111117",
    }
)
DECLINED = {
    "4000000000000002": "card_declined",
    "4000000000009995": "insufficient_funds",
    "4000000000000069": "expired_card",
    "4000000000000127": "incorrect_cvc",
}
CHALLENGED = {
    "4000000000003220": None,
    "4000002760003184": None,
    "4000008260003178": "insufficient_funds",
    "4000008400001629": "card_declined",
}
"""Cards whose customer is asked to approve each charge (3-D Secure), and how the charge then ends.
"""
READY_MADE = {
    "pm_card_visa": "4242424242424242",
    "pm_card_mastercard": "5555555555554444",
    "pm_card_amex": "378282246310005",
    "pm_card_discover": "6011111111111117",
    "pm_card_chargeDeclined": "4000000000000002",
    "pm_card_visa_chargeDeclined": "4000000000000002",
    "pm_card_chargeDeclinedInsufficientFunds": "4000000000009995",
    "pm_card_visa_chargeDeclinedInsufficientFunds": "4000000000009995",
    "pm_card_chargeDeclinedExpiredCard": "4000000000000069",
    "pm_card_chargeDeclinedIncorrectCvc": "4000000000000127",
    "pm_card_threeDSecure2Required": "4000000000003220",
    "pm_card_authenticationRequired": "4000002760003184",
    "pm_card_authenticationRequiredChargeDeclinedInsufficientFunds": "4000008260003178",
    "pm_card_threeDSecureRequiredChargeDeclined": "4000008400001629",
}
"""Payment methods for tests that exist from the start, and the card that each stands for."""

UNKNOWN_CARD = "test_mode_live_card"
NOT_APPROVED = "payment_intent_authentication_failure"
"""The customer has refused. The issuer was not asked for money."""
MESSAGES = {
    "card_declined": "Your card was declined.",
    "insufficient_funds": "Your card has insufficient funds.",
    "expired_card": "Your card has expired.",
    "incorrect_cvc": "Your card's security code is incorrect.",
    UNKNOWN_CARD: "Your card was declined: this shop accepts test cards only.",
    NOT_APPROVED: "The payment was not approved. Approve it, or pay in another way.",
}

_BRANDS = (  # first match wins; the ranges are the card networks'
    ("visa", re.compile(r"4")),
    ("amex", re.compile(r"3[47]")),
    ("mastercard", re.compile(r"5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720")),
    ("discover", re.compile(r"6011|64[4-9]|65")),
    ("diners", re.compile(r"36|38|30[0-5]")),
    ("jcb", re.compile(r"35")),
)
MAX_YEARS_AHEAD = 50


class KnownCard(msgspec.Struct, frozen=True, kw_only=True):
    """The stored data of a card. Its charges end with `decline_code`; `None` means success.

    If it is `challenged`, its customer has to approve each charge first.
    """

    brand: str
    last4: str
    decline_code: str | None
    challenged: bool = False


def recognise(number: str, exp_month: int, exp_year: int, cvc: str, *, today: date) -> KnownCard:
    """Check a card's data and return only what may be stored. Spaces and dashes are ignored.

    Raises:
        CardError: has one of Stripe's codes `incorrect_number`, `invalid_expiry_month`,
            `invalid_expiry_year` and `invalid_cvc`. The message contains no card data.
    """
    digits = number.replace(" ", "").replace("-", "")
    if not re.fullmatch(r"[0-9]{12,19}", digits) or not passes_luhn(digits):
        raise CardError("incorrect_number", "Your card number is incorrect.", "number")
    if not 1 <= exp_month <= 12 or (exp_year == today.year and exp_month < today.month):
        raise CardError("invalid_expiry_month", "Your card's expiry month is invalid.", "exp_month")
    if not today.year <= exp_year <= today.year + MAX_YEARS_AHEAD:
        raise CardError("invalid_expiry_year", "Your card's expiry year is invalid.", "exp_year")
    if not re.fullmatch(r"[0-9]{4}" if brand_of(digits) == "amex" else r"[0-9]{3}", cvc):
        raise CardError("invalid_cvc", "Your card's security code is invalid.", "cvc")
    return _known(digits)


def ready_made(token: str) -> KnownCard | None:
    """Return the card of a ready-made payment method; None if `token` does not name one."""
    digits = READY_MADE.get(token)
    return _known(digits) if digits else None


def _known(digits: str) -> KnownCard:
    outcomes = {**dict.fromkeys(PAYS), **DECLINED, **CHALLENGED}
    return KnownCard(
        brand=brand_of(digits),
        last4=digits[-4:],
        decline_code=outcomes.get(digits, UNKNOWN_CARD),
        challenged=digits in CHALLENGED,
    )


def passes_luhn(digits: str) -> bool:
    """Return whether `digits` pass the Luhn check (ISO/IEC 7812-1).

    Double every second digit from the right; the sum of all digits must be a multiple of ten.
    """
    total = sum(int(digit) for digit in digits[-1::-2])
    total += sum(sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return total % 10 == 0


def brand_of(digits: str) -> str:
    return next((brand for brand, prefix in _BRANDS if prefix.match(digits)), "unknown")


def failure(decline_code: str) -> Failure:
    return Failure(decline_code, MESSAGES[decline_code])
