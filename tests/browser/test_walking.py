"""From the button to the picture and back: both transports, keys, words, links."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from playwright.async_api import Route

from tests.browser.visiting import Visit

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.browser]

WAYS = ["transport=webrtc", "transport=websocket", "transport=websocket&codec=h264"]
REMEMBER_PEERS = """
    globalThis.peers = [];
    globalThis.RTCPeerConnection = class extends RTCPeerConnection {
        constructor(...given) { super(...given); globalThis.peers.push(this); }
    };
"""
FRAMES_DECODED = """async () => {
    for (const report of (await peers.at(-1).getStats()).values()) {
        if (report.type === "inbound-rtp") return report.framesDecoded;
    }
    return 0;
}"""


@pytest.mark.parametrize("way", WAYS)
async def test_a_world_comes_and_answers_keys(visit: Any, way: str) -> None:
    tab: Visit = await (await visit()).open(f"?{way}")
    await tab.enter("forest at dawn with dragons", seed=11)
    await tab.state("live")
    assert await tab.ask("transport") == way.split("&")[0].removeprefix("transport=")
    assert await tab.ask("role") == "player"
    await tab.changes(lambda: tab.ask("lastFrame?.frame"))

    rest = await tab.green_at_rest()
    await tab.page.keyboard.down("w")
    await tab.green_leaves(rest)
    await tab.page.keyboard.up("w")
    await tab.until("worldstream.lastInput >= 2 && worldstream.lastFrame.input === worldstream.lastInput")
    await tab.until("worldstream.a2p.length >= 2")
    assert all(sample["ms"] > 0 for sample in await tab.ask("a2p"))

    said = await tab.page.inner_text("#said")
    assert "forest" in said
    assert "not understood: " in said
    assert "dragons" in said.split("not understood: ")[1]


async def test_webrtc_frames_are_decoded_at_a_rate(visit: Any) -> None:
    tab: Visit = await visit()
    await tab.page.add_init_script(REMEMBER_PEERS)
    await tab.open("?transport=webrtc")
    await tab.enter()
    await tab.state("live")
    before = await tab.page.evaluate(FRAMES_DECODED)
    await asyncio.sleep(2.0)
    assert await tab.page.evaluate(FRAMES_DECODED) - before > 4  # 24 at 12 a second; a starved machine shows fewer


async def test_a_dead_webrtc_falls_back_by_itself(visit: Any) -> None:
    tab: Visit = await visit(forgiving=True)
    await tab.page.route("**/api/offer", lambda route: route.fulfill(status=502, body="bad gateway"))
    await tab.open()
    await tab.enter()
    await tab.state("live")
    assert await tab.ask("transport") == "websocket"


async def test_webrtc_without_a_path_falls_back_in_seconds(visit: Any) -> None:
    tab: Visit = await visit()

    async def without_candidates(route: Route) -> None:
        response = await route.fetch()
        answer = await response.json()
        lines = [line for line in answer["sdp"].splitlines(keepends=True) if not line.startswith("a=candidate")]
        await route.fulfill(response=response, json={**answer, "sdp": "".join(lines)})

    await tab.page.route("**/api/offer", without_candidates)
    await tab.open()
    await tab.enter()
    await tab.state("live", patience_s=10.0)
    assert await tab.ask("transport") == "websocket"


async def test_no_webrtc_at_all_falls_back_too(visit: Any) -> None:
    tab: Visit = await visit()
    await tab.page.add_init_script("delete globalThis.RTCPeerConnection")
    await tab.open()
    await tab.enter()
    await tab.state("live")
    assert await tab.ask("transport") == "websocket"


async def test_reset_and_new_words(visit: Any) -> None:
    tab: Visit = await (await visit()).open("?transport=websocket")
    await tab.enter("forest", seed=3)
    await tab.state("live")
    await tab.until("worldstream.lastFrame?.frame > 10")
    await tab.page.keyboard.press("t")
    await tab.page.keyboard.type("desert")
    await tab.page.keyboard.press("Enter")
    await tab.until("worldstream.world.prompt === 'desert'")
    await tab.until("document.getElementById('said').innerText.includes('desert')")
    await tab.page.keyboard.press("r")
    await tab.until("worldstream.world.seed === 3 && worldstream.world.prompt === 'desert'")
    await tab.until("location.search.includes('prompt=desert')")


async def test_a_shared_link_enters_the_same_world(visit: Any) -> None:
    first: Visit = await (await visit()).open("?transport=websocket")
    await first.enter("desert & dunes, dusk?", seed=77)
    await first.state("live")
    await first.page.click("[data-do=share]")
    await first.until("document.getElementById('toast').innerText.includes('link')")
    link = await first.page.evaluate("navigator.clipboard.readText()")
    await first.page.click("[data-do=leave]")
    await first.state("ended")

    second: Visit = await visit()
    await second.page.goto(link)
    await second.state("live")
    world = await second.ask("world")
    assert (world["seed"], world["prompt"]) == (77, "desert & dunes, dusk?")
    await second.page.click("[data-do=leave]")
    await second.state("ended")
    await second.page.click("text=Choose another world")
    assert await second.page.input_value("#prompt") == "desert & dunes, dusk?"
    assert await second.page.input_value("#seed") == "77"


async def test_back_leaves_the_world(visit: Any) -> None:
    tab: Visit = await (await visit()).open("?transport=websocket")
    await tab.enter("forest", seed=5)
    await tab.state("live")
    await tab.page.go_back()
    await tab.state("idle")
    assert await tab.page.is_visible("#enter")


async def test_figures_are_shown_on_request(visit: Any) -> None:
    tab: Visit = await (await visit()).open("?transport=websocket")
    await tab.enter("forest", seed=21)
    await tab.state("live")
    await tab.until("worldstream.stats !== null")
    assert not await tab.page.is_visible("#overlay")
    await tab.page.keyboard.press("o")
    await tab.page.keyboard.press("ArrowLeft")
    await tab.until("/\\d+ \\/ \\d+ ms/.test(document.getElementById('overlay').innerText)")
    for expected in ("fps", "WebSocket", "21", "step", "b/s"):
        await tab.until(f"document.getElementById('overlay').innerText.includes('{expected}')")
    assert await tab.page.evaluate("location.search.includes('measure=1')")


@pytest.mark.parametrize("transport", ["webrtc", "websocket"])
async def test_a_recording_is_kept(visit: Any, transport: str) -> None:
    tab: Visit = await (await visit()).open(f"?transport={transport}")
    await tab.enter("forest", seed=9)
    await tab.state("live")
    await tab.page.keyboard.press("v")
    await tab.until("/0:0[1-9]/.test(document.getElementById('recording').innerText)")
    async with tab.page.expect_download() as download:
        await tab.page.keyboard.press("v")
    saved = await (await download.value).path()
    assert saved.stat().st_size > 1000
    assert (await download.value).suggested_filename.startswith("worldstream-forest-9.")


async def test_the_legend_leaves_after_the_first_steps(visit: Any) -> None:
    tab: Visit = await (await visit()).open("?transport=websocket")
    await tab.enter()
    await tab.state("live")
    assert await tab.page.is_visible("#legend")
    await asyncio.sleep(1.6)  # standing still does not count
    await tab.page.keyboard.down("w")
    await tab.until("getComputedStyle(document.getElementById('bar')).opacity === '0'")
    await asyncio.sleep(1.6)
    await tab.page.keyboard.up("w")
    await tab.until("document.getElementById('legend').hidden")
    await tab.page.keyboard.press("?")
    assert await tab.page.is_visible("#legend")


async def test_the_mouse_is_taken_and_turns_the_view(visit: Any) -> None:
    tab: Visit = await (await visit()).open("?transport=websocket")
    await tab.enter()
    await tab.state("live")
    await tab.page.mouse.click(640, 300)
    await tab.until("document.pointerLockElement !== null")
    before = await tab.ask("lastInput")
    await tab.page.mouse.move(700, 320)
    await tab.page.mouse.move(760, 340)
    await tab.until(f"worldstream.lastInput > {before} && worldstream.lastFrame.input >= worldstream.lastInput")
    await tab.page.evaluate("document.exitPointerLock()")
    await tab.until("document.pointerLockElement === null && !document.body.classList.contains('captured')")


async def test_a_gamepad_walks(visit: Any) -> None:
    tab: Visit = await visit()
    await tab.page.add_init_script("""
        globalThis.pad = { connected: true, mapping: "standard", axes: [0, 0, 0, 0], buttons: [] };
        navigator.getGamepads = () => [globalThis.pad];
    """)
    await tab.open("?transport=websocket")
    await tab.enter()
    await tab.state("live")
    rest = await tab.green_at_rest()
    await tab.page.evaluate("pad.axes = [0, -1, 0, 0]; dispatchEvent(new Event('gamepadconnected'))")
    await tab.until("worldstream.lastFrame.input > 0")
    await tab.green_leaves(rest)
    await tab.page.evaluate("pad.axes = [0, 0, 0, 0]")
    await tab.until("!document.body.classList.contains('busy')")


async def test_thumbs_walk_and_look(visit: Any) -> None:
    tab: Visit = await (await visit(390, 844, touch=True)).open("?transport=websocket")
    await tab.enter()
    await tab.state("live")
    box = await tab.page.locator("[data-stick=move]").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    rest = await tab.green_at_rest()
    await tab.page.mouse.move(x, y)
    await tab.page.mouse.down()
    await tab.page.mouse.move(x, y - 50)
    await tab.until("worldstream.lastFrame.input > 0")
    await tab.green_leaves(rest)
    await tab.page.mouse.up()
