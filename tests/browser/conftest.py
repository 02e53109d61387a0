"""A real Chromium, a real server process, and visits that fail when the console complains."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # so that `tests.browser.visiting` can be imported

from tests.browser.profiles import Profiles
from tests.browser.visiting import FakeServer, Visit

FLAGS = [
    "--no-sandbox",  # containers and CI run as root
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
Open = Callable[..., Awaitable[Visit]]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeServer]:
    """Shared by all tests; nobody lives in it when a test begins."""
    server = FakeServer(tmp_path_factory.mktemp("server") / "log")
    server.start()
    yield server
    server.kill()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[FakeServer]:
    """For a test that ends it."""
    server = FakeServer(tmp_path / "log")
    server.start()
    yield server
    server.kill()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser(chromium: str) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def profiles(browser: Browser, server: FakeServer) -> Profiles:
    return Profiles(browser, server.url + "healthz")


@pytest_asyncio.fixture(loop_scope="session")
async def visit(profiles: Profiles, server: FakeServer) -> AsyncIterator[Open]:
    """Opens tabs, each in a profile of its own; at the end looks at what they noticed.

    `new=True` asks for a profile that was never used, where a test measures how a page comes for the first time.
    """
    visits: list[Visit] = []

    async def open_tab(
        width: int = 1280, height: int = 640, *, host: FakeServer | None = None, touch: bool = False, **options: bool
    ) -> Visit:
        forgiving, new = options.pop("forgiving", False), options.pop("new", False)
        light, still = options.pop("light", False), options.pop("still", False)
        assert not options
        profile = await (profiles.new(touch) if new else profiles.lend(touch))
        page = await profile.context.new_page()
        await page.set_viewport_size({"width": width, "height": height})
        await page.emulate_media(
            color_scheme="light" if light else "dark", reduced_motion="reduce" if still else "no-preference"
        )
        visit = Visit(page, profile, host or server, forgiving)
        visit.listen()
        visits.append(visit)
        return visit

    yield open_tab
    for each in visits:
        await each.close()
        await profiles.take_back(each.profile, each.server.url)
    server.wait_until_empty()
    for each in visits:
        assert each.strangers == [], "the page asked another host"
        assert each.forgiving or each.complaints == []
