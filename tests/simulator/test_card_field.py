"""The pages in a browser: what the shop's page learns of a card, and how a payment is approved."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from playwright.async_api import Browser, Page, expect

from cartwheel.kernel import new_id

from ..browser import DESKTOP, PHONE, chromium
from .conftest import Simulator
from .storefront import Storefront
from .test_approvals import begin, page_of
from .test_hosted_page import begun, told

NUMBER = "4242424242424242"


@pytest.fixture(scope="module")
async def browser() -> AsyncGenerator[Browser]:
    async with chromium() as browser:
        yield browser


@asynccontextmanager
async def opened(
    browser: Browser, url: str, *, width: int = DESKTOP, scripts: bool = True
) -> AsyncGenerator[tuple[Page, list[str]]]:
    """Yield the page at `url`, and what the browser's console says about it."""
    context = await browser.new_context(
        viewport={"width": width, "height": 800}, java_script_enabled=scripts
    )
    said: list[str] = []
    page = await context.new_page()
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    await page.goto(url)
    yield page, said
    await context.close()


async def type_card(place: Any, number: str = NUMBER) -> None:
    await place.get_by_label("Card number").press_sequentially(number)
    await place.get_by_label("Expires").fill("12 / 34")
    await place.get_by_label("Security code").fill("917")


async def has_no_more_than_its_width(page: Page) -> None:
    wide = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
    for frame in page.frames:
        assert await frame.evaluate(wide), frame.url


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
async def test_the_shops_page_gets_a_token_and_never_the_number(
    browser: Browser, simulator: Simulator, storefront: Storefront, width: int
) -> None:
    storefront.simulator = simulator.url
    async with opened(browser, storefront.origin, width=width) as (page, said):
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        await expect(page.locator("#told")).to_have_text("ready")
        field = page.frame_locator("iframe")
        await type_card(field)
        shown = await field.get_by_label("Card number").input_value()
        await has_no_more_than_its_width(page)
        await page.get_by_role("button", name="Pay").click()
        await expect(page.locator("#told")).to_contain_text("token")
        made = msgspec.json.decode(await page.locator("#told").inner_text())
        readable = await page.evaluate("document.querySelector('iframe').contentDocument")

    assert shown == "4242 4242 4242 4242"
    assert made["token"]["id"].startswith("pm_")
    assert made["token"]["card"] == {"brand": "visa", "last4": "4242"}
    assert readable is None
    assert asked == [f"{simulator.url}/v1/payment_methods"]
    assert not any(NUMBER in each.replace(" ", "") for each in storefront.received)
    assert said == []


async def test_a_wrong_card_is_explained_in_the_field(
    browser: Browser, simulator: Simulator, storefront: Storefront
) -> None:
    storefront.simulator = simulator.url
    async with opened(browser, storefront.origin) as (page, _):
        await expect(page.locator("#told")).to_have_text("ready")
        field = page.frame_locator("iframe")
        number = field.get_by_label("Card number")
        await type_card(field, "4242424242424241")
        await page.get_by_role("button", name="Pay").click()
        await expect(page.locator("#told")).to_contain_text("incorrect_number")
        await expect(number).to_have_attribute("aria-invalid", "true")
        await expect(number).to_be_focused()
        await expect(field.get_by_text("Your card number is incorrect.")).to_be_visible()
        await number.fill(NUMBER)
        await page.get_by_role("button", name="Pay").click()
        await expect(page.locator("#told")).to_contain_text("pm_")
        await expect(field.get_by_text("Your card number is incorrect.")).to_be_hidden()


async def test_a_page_that_is_not_the_shops_gets_no_field(
    browser: Browser, simulator: Simulator, storefront: Storefront
) -> None:
    storefront.simulator = simulator.url
    async with opened(browser, storefront.stranger) as (page, _):
        await expect(page.locator("#told")).to_contain_text("not available here", timeout=30_000)

        assert await page.locator("iframe").count() == 0


async def test_a_stranger_in_the_shops_page_can_neither_ask_for_a_token_nor_forge_one(
    browser: Browser, simulator: Simulator, storefront: Storefront
) -> None:
    storefront.simulator = simulator.url
    async with opened(browser, storefront.origin) as (page, _):
        await expect(page.locator("#told")).to_have_text("ready")
        await type_card(page.frame_locator("iframe").first)
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        beggar = f"{storefront.stranger}/beggar"
        adds = "url => { document.body.appendChild(document.createElement('iframe')).src = url }"
        async with page.expect_event("framenavigated", lambda frame: frame.url == beggar) as added:
            await page.evaluate(adds, beggar)
        await (await added.value).wait_for_function("document.title === 'sent'")
        await page.get_by_role("button", name="Pay").click()
        await expect(page.locator("#told")).to_contain_text("token")

        assert "pm_forged" not in await page.locator("#told").inner_text()
    assert asked == [beggar, f"{simulator.url}/v1/payment_methods"]


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
async def test_the_hosted_page_works_without_scripts(
    browser: Browser, simulator: Simulator, storefront: Storefront, width: int
) -> None:
    session = await begun(simulator, storefront)
    async with opened(browser, session["url"], width=width, scripts=False) as (page, said):
        await type_card(page, "4242424242424241")
        await page.get_by_role("button", name="Continue").click()
        await expect(page.get_by_text("Your card number is incorrect.")).to_be_visible()
        await type_card(page)
        await page.get_by_role("button", name="Continue").click()
        await page.wait_for_url(f"{storefront.origin}/done?session_id={session['id']}")
    _, after = await told(simulator, session)

    assert after["status"] == "complete"
    assert not any("Content Security Policy" in line for line in said)
    assert not any(NUMBER in each for each in storefront.received)


async def test_the_hosted_page_leads_back_without_a_card(
    browser: Browser, simulator: Simulator, storefront: Storefront
) -> None:
    session = await begun(simulator, storefront)
    async with opened(browser, session["url"], scripts=False) as (page, said):
        await page.get_by_role("link", name="Back without a card").click()
        await page.wait_for_url(f"{storefront.origin}/back")

    assert (await told(simulator, session))[1]["status"] == "open"
    assert said == []


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
async def test_a_payment_is_approved_without_scripts(
    browser: Browser, simulator: Simulator, storefront: Storefront, width: int
) -> None:
    payment_id = new_id("pay")  # as long as those of payments
    intent = await begin(simulator, payment_id, return_url=f"{storefront.origin}/done")
    async with opened(browser, page_of(intent), width=width, scripts=False) as (page, said):
        card = page.get_by_text("With your Visa card that ends in 3220.")
        await expect(card).to_be_visible()
        lines = await page.locator("main p").all()
        wide = [await line.evaluate("p => p.scrollWidth > p.clientWidth") for line in lines]
        await page.get_by_role("button", name="Approve").click()
        await page.wait_for_url(f"{storefront.origin}/done?**")
    _, after = await simulator.call("GET", f"/v1/payments/{payment_id}")

    assert not any(wide)
    assert after["status"] == "succeeded"
    assert said == []
