"""The first page: light, quick, and honest about what it knows."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.browser.visiting import Visit

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.browser]

MAX_PAGE_BYTES = 150_000
MAX_FIRST_PAINT_MS = 1500.0  # the budget is 300 on a quiet machine; a shared one stalls


async def test_the_whole_page_weighs_little(visit: Any) -> None:
    tab: Visit = await (await visit(new=True)).open()
    await tab.page.wait_for_load_state("networkidle")
    weighed = {url: size for url, size in tab.sizes.items() if "/recordings/" not in url}
    assert len(weighed) > 10
    assert all(size > 0 for size in weighed.values()), weighed
    assert sum(weighed.values()) < MAX_PAGE_BYTES


async def test_first_paint_is_quick(visit: Any) -> None:
    tab: Visit = await (await visit(new=True)).open()
    await tab.until("performance.getEntriesByName('first-contentful-paint').length > 0")
    assert (
        await tab.page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
        < MAX_FIRST_PAINT_MS
    )


async def test_chips_write_the_words(visit: Any) -> None:
    tab: Visit = await (await visit()).open()
    for chip in ("desert", "dusk", "foggy"):
        await tab.page.click(f".chip:text-is('{chip}')")
    assert await tab.page.input_value("#prompt") == "desert, dusk, foggy"
    await tab.page.click(".chip:text-is('forest')")
    assert await tab.page.input_value("#prompt") == "forest, dusk, foggy"
    await tab.page.click(".chip:text-is('dusk')")
    assert await tab.page.input_value("#prompt") == "forest, foggy"
    lit = await tab.page.eval_on_selector_all(".chip[aria-pressed=true]", "chips => chips.map(c => c.textContent)")
    assert lit == ["forest", "foggy"]
    await tab.page.fill("#prompt", "Misty deserted desert")
    lit = await tab.page.eval_on_selector_all(".chip[aria-pressed=true]", "chips => chips.map(c => c.textContent)")
    assert lit == ["desert", "misty"]


async def test_the_dice_rolls_another_seed(visit: Any) -> None:
    tab: Visit = await (await visit()).open()
    before = await tab.page.input_value("#seed")
    await tab.page.click("#roll")
    after = await tab.page.input_value("#seed")
    assert after.isdecimal()
    assert after != before


async def test_an_empty_box_gets_words_that_can_be_shared(visit: Any) -> None:
    tab: Visit = await (await visit()).open("?transport=websocket")
    await tab.page.press("#prompt", "Enter")
    await tab.state("live")
    prompt = (await tab.ask("world"))["prompt"]
    assert prompt
    assert await tab.page.evaluate("new URLSearchParams(location.search).get('prompt')") == prompt


async def test_colours_follow_the_system_until_told_otherwise(visit: Any) -> None:
    tab: Visit = await (await visit(light=True)).open()
    background = "getComputedStyle(document.body).backgroundColor"
    light = await tab.page.evaluate(background)
    await tab.page.click("#theme")  # light, by choice
    assert await tab.page.evaluate(background) == light
    await tab.page.click("#theme")  # dark
    dark = await tab.page.evaluate(background)
    assert dark == "rgb(11, 13, 16)" != light
    await tab.page.reload()
    assert await tab.page.evaluate(background) == dark


async def test_without_recordings_there_is_no_place_for_them(visit: Any) -> None:
    tab: Visit = await visit()
    await tab.page.route("**/recordings/index.json", lambda route: route.fulfill(body='{"recordings": []}'))
    await tab.open()
    assert not await tab.page.is_visible("#sheet")


async def test_recordings_are_marked_and_lend_their_words(visit: Any) -> None:
    tab: Visit = await visit()
    listed = json.dumps({"recordings": [{"file": "a.webp", "prompt": "desert, night", "seed": 5}]})
    await tab.page.route("**/recordings/index.json", lambda route: route.fulfill(body=listed))
    await tab.page.route("**/recordings/a.webp", lambda route: route.fulfill(body="", content_type="image/webp"))
    await tab.open()
    await tab.page.wait_for_selector("#sheet")
    assert "Recordings" in await tab.page.inner_text("#sheet-title")
    await tab.page.click(".tile")
    assert await tab.page.input_value("#prompt") == "desert, night"
    assert await tab.page.input_value("#seed") == "5"
