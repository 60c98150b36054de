"""The characters that text may have, and the cleaning of unchecked text."""

import json
import unicodedata
from typing import Annotated

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

from cartwheel.contracts import text

Line = Annotated[str, Meta(pattern=text.LINE)]
Lines = Annotated[str, Meta(pattern=text.LINES)]
Url = Annotated[str, Meta(pattern=text.URL)]

BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def takes(kind: object, value: str) -> bool:
    try:
        msgspec.json.decode(json.dumps(value), type=kind)
    except msgspec.DecodeError:
        return False
    return True


@pytest.mark.parametrize("control", ["\0", "\x07", "\x1b", "\x7f", "\x85", "\x9b", "\u2028", *BIDI])
@pytest.mark.parametrize("around", ["{}Ada", "A{}da", "Ada{}"])
def test_text_with_a_control_character_anywhere_is_refused(control: str, around: str) -> None:
    assert not takes(Line, around.format(control))
    assert not takes(Lines, around.format(control))
    assert not takes(Url, f"https://example.com/{around.format(control)}")


@pytest.mark.parametrize("line_break", ["\n", "\r\n", "\t"])
def test_only_text_of_several_lines_may_have_line_breaks_and_tabs(line_break: str) -> None:
    assert takes(Lines, f"one{line_break}two{line_break}")
    assert not takes(Line, f"one{line_break}two")
    assert not takes(Line, f"one{line_break}")
    assert not takes(Url, f"https://example.com/{line_break}")


@pytest.mark.parametrize("nothing", ["", " ", "\u200b", "\u00a0", "\ufeff\u200d", "\u2060 \u3000"])
def test_a_line_has_a_visible_character(nothing: str) -> None:
    assert not takes(Line, nothing)
    assert takes(Lines, nothing)


@pytest.mark.parametrize(
    "name", ["Ada Lovelace", "Zoë", "김연아", "عمر", "می‌خواهم", "O'Brien <o>", "👩‍🚀", " Ada ", "x"]
)
def test_names_from_all_over_the_world_are_lines(name: str) -> None:
    assert takes(Line, name)
    assert text.one_line(name, longest=100) == name.strip()


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com",
        "http://localhost:9000/a.png?size=1#top",
        "https://[2001:db8::1]:8443/a",
        "https://bücher.example/bild.png",
        "https://cdn.example?x=[1]",
    ],
)
def test_web_addresses_are_urls(url: str) -> None:
    assert takes(Url, url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com/a.png",
        "javascript:alert(1)",
        "ftp://example.com/a",
        "https://",
        "https:///a.png",
        "https://user:password@example.com/",
        'https://example.com/"><script>',
        "https://example.com/a b",
        "https://example.com:port/",
        " https://example.com",
    ],
)
def test_text_that_is_not_a_web_address_is_not_a_url(url: str) -> None:
    assert not takes(Url, url)


@given(st.text())
def test_any_text_can_be_made_into_an_accepted_line(anything: str) -> None:
    line = text.one_line(anything, longest=20)

    assert len(line) <= 20
    assert line == "" or takes(Line, line)
    assert not any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in line)


def test_a_misleading_name_becomes_one_short_line() -> None:
    name = "Ada\r\nBcc: all@example.com\x1b[2J\u202e" + "VISIT " * 1000

    line = text.one_line(name, longest=60)

    assert line == "Ada Bcc: all@example.com [2J VISIT VISIT VISIT VISIT VISIT V"


def test_checking_a_line_takes_time_proportional_to_its_length() -> None:
    assert takes(Line, "x" + " " * 200_000)
    assert not takes(Line, " " * 200_000)
    assert not takes(Url, "https://" + "a" * 200_000 + "@")
