"""All mail has one layout: the shop's name and address, a link, one sentence after another."""

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec
import pytest

from cartwheel import notifications
from cartwheel.kernel import Event
from cartwheel.kernel.settings import BadSettings, read
from cartwheel.notifications.domain import (
    NOTICED,
    TOLD,
    Mail,
    Noticed,
    Shop,
    Told,
    render,
    render_for_operations,
)
from cartwheel.notifications.settings import ShopSettings, shop_of
from cartwheel.operations.mail_preview import TO_CUSTOMERS, TO_OPERATIONS, mails

SHOP = Shop(
    name="Bits & Pieces",
    address="Wharf Road 3, Riverside",
    order_url="https://shop.example.com/orders/{number}?from=mail",
)
Any_ = TypeVar("Any_", bound=Told | Noticed)

FREE = {
    "name",
    "reason",
    "carrier",
    "tracking",
    "note",
    "sku",
    "first_type",
    "first_id",
    "number",
    "message",
}
"""The fields that hold what somebody has typed, or what another system has said."""

BLOCKS = {"br", "h1", "li", "p", "pre", "td", "title", "ul"}


def saying(event: Any_, said: str) -> Any_:
    """Return `event` with `said` in each field that may hold anything."""

    def put(value: Any) -> Any:
        if isinstance(value, dict):
            fields = cast("dict[str, Any]", value)
            return {
                name: said if name in FREE and isinstance(each, str) else put(each)
                for name, each in fields.items()
            }
        if isinstance(value, list):
            return [put(each) for each in cast("list[Any]", value)]
        return value

    return msgspec.convert(put(msgspec.to_builtins(event)), type(event))


def every_mail(said: str, shop: Shop = SHOP) -> list[Mail]:
    return [
        *(render(saying(event, said), shop) for event in TO_CUSTOMERS),
        *(
            render_for_operations(saying(event, said), shop, to="operations@example.com")
            for event in TO_OPERATIONS
        ),
    ]


class Page(HTMLParser):
    """What is in the HTML of a mail: its tags, its links, and the text of each block."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.links: list[str | None] = []
        self.blocks = [""]
        self._ignored = False
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(name for name, _ in attrs)))
        self.links += [value for name, value in attrs if name == "href"]
        self._ignored = tag == "style"
        if tag in BLOCKS:
            self.blocks.append("")

    def handle_endtag(self, tag: str) -> None:
        self._ignored = False
        if tag in BLOCKS:
            self.blocks.append("")

    def handle_data(self, data: str) -> None:
        if not self._ignored:
            self.blocks[-1] += data


def test_every_event_has_both_templates_and_every_template_is_in_the_preview() -> None:
    folder = Path(notifications.__file__).parent / "templates"
    layouts = {f"{name}.{kind}" for name in ("layout", "order", "operations") for kind in KINDS}
    found = {path.name for path in folder.iterdir()} - layouts
    previewed = {each.type.removesuffix(".v1") for each in mails(SHOP)}
    told: set[type[Event]] = {*TOLD, *NOTICED}

    assert previewed == {event.type.removesuffix(".v1") for event in told}
    assert found == {f"{name}.{kind}" for name in previewed for kind in KINDS}


KINDS = ("html", "txt")


def test_every_mail_names_the_shop_and_its_address() -> None:
    for mail in every_mail("x"):
        assert mail.text.endswith("-- \nBits & Pieces\nWharf Road 3, Riverside\n")
        shown = [block.strip() for block in Page(mail.html).blocks]
        assert shown.count("Bits & Pieces") == 2
        assert "Wharf Road 3, Riverside" in shown
        for needed in ('<meta charset="utf-8">', '<meta name="viewport"', '<html lang="en">'):
            assert needed in mail.html


def test_mail_to_customers_links_to_the_order_and_to_nothing_else() -> None:
    url = "https://shop.example.com/orders/K7QM3-XWD9A?from=mail"
    for event in TO_CUSTOMERS:
        mail = render(event, SHOP)
        assert f"See your order: {url}\n" in mail.text
        assert Page(mail.html).links == [url]
        unlinked = render(event, Shop())
        assert "See your order" not in unlinked.text
        assert Page(unlinked.html).links == []


def test_no_sentence_runs_into_the_next() -> None:
    """What others have said may end without a full stop, so nothing stands behind it."""
    said = "no stop at the end"
    for mail in every_mail(said):
        blocks = [" ".join(block.split()) for block in Page(mail.html).blocks]
        for block in (*blocks, *mail.text.splitlines()):
            assert not re.search(r"[a-z][.!?:][A-Z]", block), block
            assert not re.search(rf"{said}[ .]*[A-Z]", block), block


@pytest.mark.parametrize(
    "hostile",
    [
        "<script>alert(1)</script>",
        '"><img src=x onerror=y>',
        "' onclick='x",
        "</td></table><a href='//evil.example'>pay here</a>",
        "{{ order.total }}{% raw %}",
        "{0.__class__}",
    ],
)
def test_whatever_others_say_is_text_and_never_markup(hostile: str) -> None:
    order_url = SHOP.order_url
    shop = Shop(name=hostile, address=hostile, order_url=order_url)
    for harmless, mail in zip(every_mail("x"), every_mail(hostile, shop), strict=True):
        page = Page(mail.html)
        assert page.tags == Page(harmless.html).tags
        for link in page.links:
            assert re.fullmatch(r"https://shop\.example\.com/orders/[^<>\"' ]+", link or "")
        assert hostile in mail.text


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SHOP_NAME", "two\nlines"),
        ("SHOP_NAME", "x" * 101),
        ("SHOP_ADDRESS", "\u202esteerts"),
        ("ORDER_URL", "https://shop.example.com/orders"),
        ("ORDER_URL", "javascript:alert({id})"),
        ("ORDER_URL", "https://{id}.example.com/"),
        ("ORDER_URL", "https://shop.example.com/{id}\n"),
    ],
)
def test_a_bad_setting_is_named_in_one_sentence(variable: str, value: str) -> None:
    with pytest.raises(BadSettings, match=f"^{variable} is malformed: expected [^\n]+$"):
        read(ShopSettings, {variable: value})


def test_without_settings_mail_is_from_cartwheel() -> None:
    assert shop_of(read(ShopSettings, {})) == Shop(name="Cartwheel")
