"""Going back in a walk, returning to what was left, and links that draw a walk again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.browser.test_access import SIZES, find_faults
from tests.browser.visiting import Visit

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.browser]

UNCOVERED = """document.getElementById("sticks").getBoundingClientRect().bottom
    <= document.getElementById("timeline").getBoundingClientRect().top"""
WAYS = ["transport=websocket", "transport=webrtc"]


async def walking(visit: Any, way: str = WAYS[0], seed: int = 7) -> Visit:
    tab: Visit = await (await visit()).open(f"?{way}")
    await tab.enter("forest", seed)
    await tab.state("live")
    await tab.until("worldstream.timeline !== null")
    return tab


async def walk(tab: Visit, key: str, seconds: float) -> None:
    """Hold a key until the walk is that much longer."""
    now = await tab.ask("timeline.now")
    await tab.page.keyboard.down(key)
    await tab.until(f"worldstream.timeline.now >= {now} + {seconds} * worldstream.timeline.fps")
    await tab.page.keyboard.up(key)


@pytest.mark.parametrize("way", WAYS)
async def test_walk_go_back_and_go_elsewhere(visit: Any, way: str) -> None:
    tab = await walking(visit, way)
    await walk(tab, "w", 3.0)
    before = await tab.ask("timeline.now")
    frame = await tab.ask("lastFrame.frame")
    await tab.page.keyboard.press("z")
    await tab.until(f"worldstream.timeline.now < {before} - 12")
    await tab.until("worldstream.timeline.branches.length === 1")
    assert await tab.page.is_visible("#timeline")
    await tab.until("document.getElementById('toast').innerText.includes('s back')")
    await walk(tab, "ArrowLeft", 1.0)
    assert await tab.ask("lastFrame.frame") > frame, "pictures count on"

    (branch,) = await tab.ask("timeline.branches")
    assert branch["end"] >= before
    await tab.page.click("#branches button")
    await tab.until(f"worldstream.timeline.now >= {branch['end']}")
    await tab.until("worldstream.timeline.branches.length === 1")  # the way to the left
    (left,) = await tab.ask("timeline.branches")
    assert left["start"] == branch["start"]
    await tab.page.keyboard.press("Escape")
    assert not await tab.page.is_visible("#timeline")


async def test_the_slider_goes_to_a_moment_by_keys(visit: Any) -> None:
    tab = await walking(visit)
    await walk(tab, "w", 3.0)
    await tab.page.click("[data-do=rewind]")
    await tab.page.focus("#moment")
    assert "now" in (await tab.page.get_attribute("#moment", "aria-valuetext") or "")
    now = await tab.ask("timeline.now")
    await tab.page.keyboard.press("Home")
    await tab.until(f"worldstream.timeline.now < {now} / 2")
    assert await tab.ask("timeline.branches") != []


@pytest.mark.parametrize(("width", "height", "touch"), SIZES)
async def test_axe_has_no_objection(visit: Any, width: int, height: int, touch: bool) -> None:
    tab: Visit = await visit(width, height, touch=touch, still=True)
    await tab.open("?transport=websocket")
    await tab.enter("forest", 45)
    await tab.state("live")
    await tab.until("worldstream.timeline !== null")
    await walk(tab, "w", 2.0)
    await tab.page.keyboard.press("z")
    await tab.until("worldstream.timeline.branches.length === 1")
    assert await tab.page.is_visible("#branches button")
    assert await find_faults(tab) == []
    assert await tab.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    if touch:
        assert await tab.page.evaluate(UNCOVERED), "the strip lies over the sticks"
    await walk(tab, "w", 2.0)
    link = await shared_link(tab)
    await tab.page.goto(f"{link}&transport=websocket")
    await tab.until("worldstream.timeline?.replay > 0")
    assert await find_faults(tab) == []


async def test_whoever_watches_only_sees_it(visit: Any) -> None:
    player = await walking(visit)
    viewer: Visit = await (await visit()).open("?transport=websocket")
    await viewer.page.click("text=Just watch")
    await viewer.state("live")
    assert await viewer.ask("role") == "viewer"
    await viewer.page.keyboard.press("z")
    await viewer.until("document.getElementById('toast').innerText.includes('Only whoever walks')")
    await walk(player, "w", 2.0)
    frame = await viewer.ask("lastFrame.frame")
    await player.page.keyboard.press("Backspace")
    await player.until("worldstream.timeline.branches.length === 1")
    await viewer.until(f"worldstream.lastFrame.frame > {frame} + 5")
    assert await viewer.ask("timeline") is None


async def shared_link(tab: Visit) -> str:
    await tab.page.click("[data-do=share]")
    await tab.until("document.getElementById('toast').innerText.includes('The link to this walk is copied')")
    link: str = await tab.page.evaluate("navigator.clipboard.readText()")
    await tab.page.click("[data-do=leave]")
    await tab.state("ended")
    return link


@pytest.mark.parametrize("way", WAYS)
async def test_a_shared_walk_is_seen_again_and_taken_over(visit: Any, way: str) -> None:
    first = await walking(visit, way, seed=42)
    await walk(first, "w", 2.0)
    link = await shared_link(first)

    second: Visit = await visit()
    await second.page.goto(f"{link}&{way}")
    await second.state("live")
    await second.until("worldstream.timeline?.replay > 12")
    assert (await second.ask("world"))["seed"] == 42
    assert await second.page.is_visible("#take-over")
    assert "drawn again" in await second.page.inner_text("#replay")
    await second.until("worldstream.timeline.now > 6")
    await second.page.click("#take-over")
    await second.until("worldstream.timeline.replay === null")
    assert not await second.page.is_visible("#replay")
    assert "replay=" not in await second.page.evaluate("location.search")
    rest = await second.green_at_rest()
    await second.page.keyboard.down("w")
    await second.green_leaves(rest)
    await second.page.keyboard.up("w")


async def test_a_key_takes_a_replay_over(visit: Any) -> None:
    first = await walking(visit, seed=43)
    await walk(first, "w", 3.0)
    link = await shared_link(first)
    second: Visit = await visit()
    await second.page.goto(f"{link}&transport=websocket")
    await second.until("worldstream.timeline?.replay > 12")
    await second.page.keyboard.press("ArrowRight")
    await second.until("worldstream.timeline.replay === null")


async def test_a_link_that_has_expired_opens_the_same_world_and_says_so(visit: Any) -> None:
    tab: Visit = await visit()
    await tab.page.goto(f"{tab.server.url}?prompt=desert&seed=9&replay=gone-gone-gone&transport=websocket")
    await tab.state("live")
    await tab.until("document.getElementById('toast').innerText.includes('not kept here, or no longer')")
    await tab.until("worldstream.world.seed === 9 && worldstream.world.prompt === 'desert'")


async def test_a_log_can_be_kept_and_opened_again(visit: Any, tmp_path: Path) -> None:
    tab = await walking(visit, seed=44)
    await walk(tab, "w", 2.0)
    await tab.page.click("[data-do=adjust]")
    async with tab.page.expect_download() as download:
        await tab.page.click("#keep-log")
    kept = tmp_path / "walk.jsonl"
    await (await download.value).save_as(kept)
    lines = kept.read_text().splitlines()
    assert json.loads(lines[0])["seed"] == 44
    assert any(json.loads(line)[2] > 0 for line in lines[1:])
    await tab.page.click("[data-do=leave]")
    await tab.state("ended")

    other: Visit = await (await visit()).open("?transport=websocket")
    await other.page.set_input_files("#log-file", kept)
    await other.state("live")
    await other.until("worldstream.timeline?.replay > 12")
    assert (await other.ask("world"))["seed"] == 44


async def test_a_file_that_is_no_walk_is_refused_in_words(visit: Any, tmp_path: Path) -> None:
    tab: Visit = await (await visit(forgiving=True)).open()
    wrong = tmp_path / "film.mp4"
    wrong.write_bytes(bytes(range(256)) * 10)
    await tab.page.set_input_files("#log-file", wrong)
    await tab.until("document.getElementById('status').innerText.includes('not an action log')")
    assert await tab.page.get_attribute("#status", "data-tone") == "trouble"
    assert await tab.ask("state") == "idle"
