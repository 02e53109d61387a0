"""Profiles of the browser, lent to one visit after another and cleaned in between.

A context of its own for each visit starts three renderer processes and warms up none: most of a visit's time. Here a
context keeps one small page of the server open, so that the process of that site lives on for the next visit's tab.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from playwright.async_api import Browser, BrowserContext, CDPSession, Page


@dataclass(frozen=True)
class Profile:
    """A browser context; with the page that keeps its process, and the tools to clean it, where it is lent again."""

    context: BrowserContext
    touch: bool
    hearth: Page | None = None
    tools: CDPSession | None = None


@dataclass
class Profiles:
    """Nobody meets what an earlier visit left: tabs are new, and cookies, caches and storage are emptied."""

    browser: Browser
    hearth_url: str
    free: list[Profile] = field(default_factory=list)

    async def lend(self, touch: bool) -> Profile:
        for profile in self.free:
            if profile.touch == touch:
                self.free.remove(profile)
                return profile
        profile = await self.new(touch)
        hearth = await profile.context.new_page()
        await hearth.goto(self.hearth_url)
        return Profile(profile.context, touch, hearth, await profile.context.new_cdp_session(hearth))

    async def new(self, touch: bool) -> Profile:
        """One that was never used, and is not lent again."""
        context = await self.browser.new_context(
            has_touch=touch, is_mobile=touch, permissions=["clipboard-read", "clipboard-write"]
        )
        return Profile(context, touch)

    async def take_back(self, profile: Profile, origin: str) -> None:
        if profile.tools is None:
            await profile.context.close()
            return
        for page in profile.context.pages:
            if page is not profile.hearth:
                await page.close()
        await profile.context.clear_cookies()
        await profile.tools.send("Network.clearBrowserCache")
        await profile.tools.send("Storage.clearDataForOrigin", {"origin": origin.rstrip("/"), "storageTypes": "all"})
        self.free.insert(0, profile)  # the warmest is lent first
