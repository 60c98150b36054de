"""Order numbers, which one person reads out on the phone and another types."""

import pytest

from cartwheel.contracts.order_number import new_number, read_number


def test_a_number_is_read_as_it_was_written() -> None:
    number = new_number()
    assert read_number(number) == number


@pytest.mark.parametrize(
    "heard", ["k7qm0-xwd1a", "K7QM0XWD1A", " k7qm0 xwd1a ", "K7QMO-XWDIA", "k7qmo-xwdla"]
)
def test_case_hyphen_and_letters_that_look_like_digits_do_not_matter(heard: str) -> None:
    assert read_number(heard) == "K7QM0-XWD1A"


@pytest.mark.parametrize("typed", ["", "K7QM0-XWD1", "K7QM0-XWD1AB", "K7QM0-XWD1U", "ord_0123456"])
def test_text_that_is_not_a_number_is_none(typed: str) -> None:
    assert read_number(typed) is None
