"""Each state with its own words: in line, paused, reconnecting, offline, failed, ended."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.browser.visiting import FakeServer, Visit

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.browser]


@pytest.mark.parametrize("transport", ["webrtc", "websocket"])
async def test_the_second_visitor_waits_watching(visit: Any, transport: str) -> None:
    first: Visit = await (await visit()).open(f"?transport={transport}")
    await first.enter("forest", seed=1)
    await first.state("live")
    second: Visit = await (await visit()).open(f"?transport={transport}")
    await second.enter("desert", seed=2)
    await second.state("queued")
    await second.until("worldstream.place === 1")
    assert "number 1 in line" in await second.page.inner_text("#card")
    await second.until("document.getElementById('picture').dataset.shown !== undefined")
    await second.changes(lambda: second.ask("lastFrame?.frame"))
    assert await second.ask("world.seed") in (1, 2)

    await first.page.click("[data-do=leave]")
    await first.state("ended")
    await second.state("live")
    await second.until("worldstream.world.seed === 2")
    await second.page.keyboard.down("w")
    await second.until("worldstream.lastFrame.input > 0")
    await second.page.keyboard.up("w")


@pytest.mark.parametrize("transport", ["webrtc", "websocket"])
async def test_a_hidden_tab_pauses_and_goes_on(visit: Any, transport: str) -> None:
    tab: Visit = await (await visit()).open(f"?transport={transport}")
    await tab.enter()
    await tab.state("live")
    await tab.hide(True)
    await tab.state("paused")
    assert "goes on by itself" in await tab.page.inner_text("#card")
    await tab.hide(False)
    await tab.state("live")
    await tab.changes(lambda: tab.ask("lastFrame?.frame"))


@pytest.mark.parametrize("transport", ["webrtc", "websocket"])
async def test_a_dead_server_is_told_and_found_again(visit: Any, own_server: FakeServer, transport: str) -> None:
    tab: Visit = await visit(host=own_server, forgiving=True)
    await tab.open(f"?transport={transport}")
    await tab.enter("forest", seed=4)
    await tab.state("live")
    own_server.kill()
    await tab.state("reconnecting")
    assert "connection was lost" in await tab.page.inner_text("#card")
    assert await tab.page.evaluate("document.getElementById('picture').dataset.shown") == "canvas"  # the last frame
    await tab.state("offline")
    assert "worldstream serve" in await tab.page.inner_text("#card")
    own_server.start()
    await tab.state("live")
    assert await tab.ask("world.seed") == 4


async def test_a_server_that_was_never_there_is_waited_for(visit: Any, own_server: FakeServer) -> None:
    tab: Visit = await visit(host=own_server, forgiving=True)
    await tab.open()
    own_server.kill()
    await tab.enter()
    await tab.state("offline")
    await tab.page.click("text=Go back")
    await tab.state("idle")
    await tab.until("document.getElementById('status').innerText.includes('worldstream serve')")


async def test_a_world_that_breaks_gives_an_id(visit: Any) -> None:
    tab: Visit = await (await visit()).open("?transport=websocket")
    await tab.enter("please fail")
    await tab.state("failed")
    assert await tab.page.locator("#card button").count() == 1
    report = await tab.page.inner_text(".report")
    assert len(report.removeprefix("To report: ")) >= 6


async def test_a_bad_server_fails_with_its_own_words(visit: Any) -> None:
    tab: Visit = await visit(forgiving=True)
    await tab.open("?transport=webrtc")
    error = {"code": "house_on_fire", "message": "The house is on fire.", "remedy": "Come back tomorrow.", "id": "f1re"}
    body = json.dumps({"error": error})
    await tab.page.route("**/api/offer", lambda route: route.fulfill(status=500, body=body))
    await tab.enter()
    await tab.state("failed")
    card = await tab.page.inner_text("#card")
    for expected in ("The house is on fire.", "Come back tomorrow.", "f1re", "Try again"):
        assert expected in card
    await tab.page.unroute("**/api/offer")
    await tab.page.click("text=Try again")
    await tab.state("live")


async def test_leaving_keeps_the_recording(visit: Any) -> None:
    tab: Visit = await (await visit()).open("?transport=websocket")
    await tab.enter("forest", seed=8)
    await tab.state("live")
    await tab.page.keyboard.press("v")
    await tab.until("/0:0[1-9]/.test(document.getElementById('recording').innerText)")
    await tab.page.click("[data-do=leave]")
    await tab.state("ended")
    await tab.page.wait_for_selector("text=Save recording")
    async with tab.page.expect_download() as download:
        await tab.page.click("text=Save recording")
    assert (await (await download.value).path()).stat().st_size > 1000


async def test_connecting_names_its_steps(visit: Any) -> None:
    tab: Visit = await visit(forgiving=True)
    await tab.open("?transport=webrtc")
    await tab.page.route("**/api/offer", lambda route: None)  # never answered
    await tab.enter("forest")
    card = await tab.page.inner_text("#card")
    for expected in ("Server", "Media", "First frame", "waiting", "forest"):
        assert expected in card
    await tab.until("/^[1-9]/.test(document.querySelector('.seconds').innerText)")
    await tab.page.click("text=Cancel")
    await tab.state("idle")
