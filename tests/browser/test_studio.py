"""The Studio as a person uses it: a real browser, a real server, real tasks; only the drawing is a test's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.browser.test_access import SIZES, find_faults
from tests.browser.visiting import ROOT, FakeServer, Visit

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.browser]

MAX_PAGE_BYTES = 150_000


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeServer]:
    """A server with the Studio, for all tests of this file."""
    server = FakeServer(
        tmp_path_factory.mktemp("studio") / "log", program=(str(ROOT / "tests/realtime/serve_studio.py"),)
    )
    server.start("--data", str(tmp_path_factory.mktemp("data")))
    yield server
    server.kill()


async def studio(visit: Any, house: FakeServer, search: str = "", **options: Any) -> Visit:
    tab: Visit = await visit(host=house, **options)
    await tab.page.goto(f"{house.url}studio{search}")
    await tab.until("document.documentElement.dataset.ready !== undefined")
    await tab.until("document.getElementById('voice').options.length > 0")
    return tab


async def make(tab: Visit, words: str) -> None:
    await tab.page.fill("#prompt", words)
    await tab.page.click("#make")


async def done(tab: Visit) -> None:
    await tab.until("document.querySelector('#actions a[download]') !== null")
    await tab.until("document.querySelector('[data-seal]')?.innerText.includes('Content Credentials')")


async def test_a_clip_forms_and_says_where_it_comes_from(visit: Any, house: FakeServer) -> None:
    tab = await studio(visit, house)
    await tab.page.fill("#seed", "7")
    await make(tab, "slow desert at dusk")
    await tab.until("document.querySelector('#view > .forming') !== null")
    await tab.until("/\\d+ % done, about \\d+ s left/.test(document.getElementById('state').innerText)")
    await tab.until("document.getElementById('progress').value > 0")
    await done(tab)
    await tab.until("document.querySelector('#view > video')?.videoWidth === 128")
    facts = await tab.page.inner_text("#facts")
    assert "Model\ntest-world" in facts
    for said in ("7", "slow desert at dusk", "made by test-world, unchanged since"):
        assert said in facts
    assert "drawn by a test" in await tab.page.inner_text("#notes")
    assert "task=" in tab.page.url
    address = tab.page.url
    async with tab.page.expect_download() as download:
        await tab.page.click("#actions a[download]")
    assert (await (await download.value).path()).stat().st_size > 500
    again = await studio(visit, house, "?" + address.partition("?")[2])
    await done(again)  # the address alone shows it
    assert "slow desert" in await again.page.inner_text("#facts")


async def test_going_back_shows_what_was_shown(visit: Any, house: FakeServer) -> None:
    tab = await studio(visit, house)
    await make(tab, "first one")
    await done(tab)
    await make(tab, "second one")
    await tab.until("document.getElementById('facts').innerText.includes('second one')")
    await done(tab)
    await tab.page.go_back()
    await tab.until("document.getElementById('facts').innerText.includes('first one')")


async def test_cancelling(visit: Any, house: FakeServer) -> None:
    tab = await studio(visit, house)
    await make(tab, "slow and unwanted")
    await tab.until("document.querySelector('#view > .forming') !== null")
    await tab.page.click("#actions >> text=Cancel")
    await tab.until("document.getElementById('state').innerText.includes('cancelled')")


async def test_trouble_is_told(visit: Any, house: FakeServer) -> None:
    tab = await studio(visit, house)
    await make(tab, "")
    assert "Say what the clip shows" in await tab.page.inner_text("#order-trouble")
    await make(tab, "impossible")
    await tab.until("document.getElementById('state').dataset.tone === 'trouble'")
    said = await tab.page.inner_text("#state")
    assert "Nobody can draw the impossible." in said
    assert "Its id is" in said
    assert await tab.page.inner_text("#order-trouble") == ""


async def test_camera_moves_write_text(visit: Any, house: FakeServer) -> None:
    tab = await studio(visit, house)
    for move in ("pan left", "push in", "hold still"):
        await tab.page.click(f"#moves button:text-is('{move}')")
    assert await tab.page.input_value("#camera") == "[00:00] pan left [00:02] push in [00:04] hold still"


async def test_an_edit_with_a_mask(visit: Any, house: FakeServer) -> None:
    tab = await studio(visit, house)
    await make(tab, "to be edited")
    await done(tab)
    await tab.page.click("#actions >> text=Edit it")
    await tab.until("document.body.dataset.make === 'edit'")
    await tab.until("document.querySelector('[data-slot=video] video') !== null")
    await tab.page.click("#paint")
    await tab.until("document.getElementById('painter').open")
    await tab.page.keyboard.press("Space")
    await tab.page.keyboard.press("ArrowRight")
    await tab.page.keyboard.press("Space")
    await tab.page.click("#paint-done")
    await tab.until("document.getElementById('painted').innerText.includes('Only what is painted')")
    await tab.page.select_option("#operation", "replace")
    await make(tab, "a red house")
    await tab.until("document.getElementById('facts').innerText.includes('a red house')")
    await done(tab)
    id = await tab.page.evaluate("new URLSearchParams(location.search).get('task')")
    assert house.get(f"api/tasks/{id}")["facts"]["inputs"] == ["mask", "video"]


async def test_references_and_a_first_picture(visit: Any, house: FakeServer, tmp_path: Path) -> None:
    Image.new("RGB", (64, 36), (200, 60, 30)).save(tmp_path / "red.png")
    tab = await studio(visit, house)
    await tab.page.click("#add-ref")
    async with tab.page.expect_file_chooser() as choosing:
        await tab.page.click("#refs button:text-is('Choose')")
    await (await choosing.value).set_files(tmp_path / "red.png")
    await make(tab, "a hero")
    assert "Give each reference a name" in await tab.page.inner_text("#order-trouble")
    await tab.page.fill("#refs .more input", "hero")
    assert "@hero" in await tab.page.inner_text("#prompt-hint")
    async with tab.page.expect_file_chooser() as choosing:
        await tab.page.click("[data-slot=first] button:text-is('Choose')")
    await (await choosing.value).set_files(tmp_path / "red.png")
    await make(tab, "@hero at dusk")
    await tab.until("document.getElementById('facts').innerText.includes('@hero')")
    await done(tab)
    id = await tab.page.evaluate("new URLSearchParams(location.search).get('task')")
    task = house.get(f"api/tasks/{id}")
    assert task["facts"]["inputs"] == ["first", "ref0"]
    assert task["params"]["references"] == [{"input": "ref0", "tag": "hero"}]


async def test_pictures_and_sounds(visit: Any, house: FakeServer) -> None:
    tab = await studio(visit, house, "?make=still")
    await tab.page.fill("#count", "2")
    await make(tab, "two pictures")
    await done(tab)
    assert await tab.page.locator("#view .strip img").count() == 2
    await tab.page.check("[name=make][value=speech]", force=True)
    await make(tab, "hello there")
    await tab.until("document.querySelector('#view audio') !== null")


async def test_two_results_over_each_other(visit: Any, house: FakeServer) -> None:
    tab = await studio(visit, house)
    for words in ("left side", "right side"):
        await make(tab, words)
        await tab.until(f"document.getElementById('facts').innerText.includes('{words}')")
        await done(tab)
    await tab.page.click("#actions >> text=Compare")
    await tab.page.click("#tiles .tile:has-text('left side') >> nth=0")
    await tab.until("document.querySelector('#view > .right') !== null")
    await tab.page.focus("#compare")
    await tab.page.keyboard.press("Home")
    assert await tab.page.evaluate("document.getElementById('view').style.getPropertyValue('--split')") == "0%"
    await tab.page.click("#compare-end")
    await tab.until("document.querySelector('#view > .right') === null")


async def test_the_shelf_is_searched(visit: Any, house: FakeServer) -> None:
    tab = await studio(visit, house)
    await make(tab, "zebra crossing")
    await done(tab)
    await tab.page.fill("#search", "zebra")
    await tab.until("document.querySelectorAll('#tiles .tile').length === 1")
    await tab.page.fill("#search", "no such words")
    await tab.until("document.getElementById('shelf-state').innerText.includes('Nothing')")
    await tab.page.fill("#search", "zebra")
    await tab.until("document.querySelectorAll('#tiles .tile').length === 1")
    await tab.page.click("#actions >> text=Delete")
    await tab.until("document.querySelectorAll('#tiles .tile').length === 0")


async def test_keys_alone_from_words_to_result(visit: Any, house: FakeServer) -> None:
    tab = await studio(visit, house)
    keyboard = tab.page.keyboard
    for wanted in ("prompt", "make"):
        for _ in range(60):
            await keyboard.press("Tab")
            if await tab.page.evaluate("document.activeElement.id") == wanted:
                break
        if wanted == "prompt":
            await keyboard.type("by keys alone")
    await keyboard.press("Enter")
    await done(tab)
    assert "by keys alone" in await tab.page.inner_text("#facts")


@pytest.mark.parametrize(("width", "height", "touch"), SIZES)
async def test_axe_has_no_objection(visit: Any, house: FakeServer, width: int, height: int, touch: bool) -> None:
    tab = await studio(visit, house, width=width, height=height, touch=touch, still=True)
    assert await find_faults(tab, "light", "dark") == []
    assert await tab.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await make(tab, "slow for axe")
    await tab.until("document.querySelector('#view > .forming') !== null")
    assert await find_faults(tab, "light", "dark") == []
    await tab.page.click("#actions >> text=Cancel")
    await tab.page.check("[name=make][value=edit]", force=True)
    await tab.page.click("#add-key")
    assert await find_faults(tab, "light", "dark") == []
    await make(tab, "impossible")
    assert "Choose the video" in await tab.page.inner_text("#order-trouble")
    assert await tab.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def test_the_page_weighs_little(visit: Any, house: FakeServer) -> None:
    tab = await studio(visit, house, new=True)
    await tab.page.wait_for_load_state("networkidle")
    weighed = {url: size for url, size in tab.sizes.items() if "/app/" in url or url.endswith("/studio")}
    assert len(weighed) > 10
    assert sum(weighed.values()) < MAX_PAGE_BYTES
