"""For people without a mouse, without sight, without patience for motion: axe-core in every state, keys alone."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from tests.browser.visiting import ROOT, Visit

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.browser]

AXE = ROOT / "node_modules/axe-core/axe.min.js"
SIZES = [(1440, 900, False), (820, 1180, True), (390, 844, True)]


async def find_faults(tab: Visit, *schemes: Literal["dark", "light"]) -> list[str]:
    """What axe-core objects to, as one line each; in the colours of each scheme, else in those that the page has."""
    if not AXE.exists():
        pytest.fail("axe-core is missing; run `npm install` in the repository", pytrace=False)
    if await tab.page.evaluate("typeof axe") == "undefined":
        await tab.page.evaluate(AXE.read_text())
    faults = []
    for scheme in schemes or (None,):
        if scheme is not None:
            await tab.page.emulate_media(color_scheme=scheme)
        found = await tab.page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
        faults += [
            f"{scheme or ''} {fault['id']}: {node['html'][:120]} {node['failureSummary']}"
            for fault in found["violations"]
            for node in fault["nodes"]
        ]
    return faults


@pytest.mark.parametrize(("width", "height", "touch"), SIZES)
async def test_axe_has_no_objection(visit: Any, width: int, height: int, touch: bool) -> None:
    tab: Visit = await visit(width, height, touch=touch, still=True)
    await tab.open("?transport=websocket")
    assert await find_faults(tab, "light", "dark") == []
    assert await tab.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await tab.enter("forest with dragons")
    await tab.state("live")
    await tab.page.keyboard.press("o")
    assert await find_faults(tab, "light", "dark") == []
    await tab.page.click("[data-do=adjust]")
    await tab.page.keyboard.press("Escape")
    await tab.page.click("[data-do=describe]")
    assert await find_faults(tab, "light", "dark") == []
    await tab.page.keyboard.press("Escape")
    await tab.hide(True)
    await tab.state("paused")
    assert await find_faults(tab, "light", "dark") == []
    await tab.hide(False)
    await tab.page.click("[data-do=leave]")
    await tab.state("ended")
    assert await find_faults(tab, "light", "dark") == []


async def test_axe_has_no_objection_to_trouble(visit: Any) -> None:
    tab: Visit = await visit(still=True, forgiving=True)
    await tab.open("?transport=webrtc")
    await tab.page.route("**/api/offer", lambda route: None)
    await tab.enter("forest")
    await tab.state("connecting")
    assert await find_faults(tab, "light", "dark") == []
    await tab.page.click("text=Cancel")
    await tab.page.unroute("**/api/offer")
    await tab.page.route("**/api/offer", lambda route: route.abort())
    await tab.page.route("**/healthz", lambda route: route.abort())
    await tab.enter("forest")
    await tab.state("offline")
    assert await find_faults(tab, "light", "dark") == []
    await tab.page.click("text=Go back")
    await tab.page.unroute("**/healthz")
    await tab.enter("forest")
    await tab.state("failed")
    assert await find_faults(tab, "light", "dark") == []


async def test_keys_alone_from_landing_to_ended(visit: Any) -> None:
    tab: Visit = await (await visit()).open("?transport=websocket")
    keyboard = tab.page.keyboard
    for _ in range(40):
        await keyboard.press("Tab")
        if await tab.page.evaluate("document.activeElement.id") == "prompt":
            break
    await keyboard.type("desert")
    await keyboard.press("Enter")
    await tab.state("live")
    await keyboard.down("w")
    await tab.until("worldstream.lastFrame.input > 0")
    await keyboard.up("w")
    await keyboard.press("t")
    await keyboard.type("forest")
    await keyboard.press("Enter")
    await tab.until("worldstream.world.prompt === 'forest'")
    for _ in range(40):
        await keyboard.press("Tab")
        if await tab.page.evaluate("document.activeElement.dataset.do") == "leave":
            break
    await keyboard.press("Enter")
    await tab.state("ended")
    assert await tab.page.evaluate("document.activeElement.innerText") == "Enter again"
    await keyboard.press("Enter")
    await tab.state("live")


async def test_states_are_spoken(visit: Any) -> None:
    tab: Visit = await (await visit()).open("?transport=websocket")
    await tab.enter()
    await tab.state("live")
    await tab.until("document.getElementById('announcer').innerText.includes('W walks forward')")
    await tab.page.click("[data-do=leave]")
    await tab.until("document.getElementById('announcer').innerText.includes('The walk is over')")


async def test_nothing_moves_for_those_who_asked(visit: Any) -> None:
    tab: Visit = await (await visit(still=True)).open()
    assert await tab.page.evaluate("getComputedStyle(document.getElementById('enter')).transitionDuration") == "0s"
