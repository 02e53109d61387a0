"""A profile that is lent again holds nothing of whoever had it before."""

from __future__ import annotations

import pytest

from tests.browser.profiles import Profiles
from tests.browser.visiting import FakeServer

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.browser]

LEAVE = """async () => {
    document.cookie = "left=1; path=/; max-age=3600";
    localStorage.setItem("left", "1");
    sessionStorage.setItem("left", "1");
    await (await caches.open("left")).put("/left", new Response("1"));
    await new Promise((done, fail) => {
        const opening = indexedDB.open("left");
        opening.onsuccess = () => { opening.result.close(); done(); };
        opening.onerror = fail;
    });
}"""
FIND = """async () => [
    document.cookie, localStorage.length, sessionStorage.length,
    (await caches.keys()).length, (await indexedDB.databases()).length,
]"""


async def test_whoever_comes_next_finds_nothing(profiles: Profiles, server: FakeServer) -> None:
    profile = await profiles.lend(touch=False)
    page = await profile.context.new_page()
    await page.goto(server.url)
    await page.evaluate(LEAVE)
    assert await page.evaluate(FIND) == ["left=1", 1, 1, 1, 1]
    await profiles.take_back(profile, server.url)
    assert page.is_closed()

    again = await profiles.lend(touch=False)
    assert again is profile
    page = await again.context.new_page()
    await page.goto(server.url)
    assert await page.evaluate(FIND) == ["", 0, 0, 0, 0]
    await profiles.take_back(again, server.url)


async def test_two_at_a_time_share_nothing(profiles: Profiles, server: FakeServer) -> None:
    one, other = await profiles.lend(touch=False), await profiles.lend(touch=False)
    assert one.context is not other.context
    for profile in (one, other):
        await profiles.take_back(profile, server.url)
