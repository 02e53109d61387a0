"""A server with the fake world in its own process, and a visit to its page that notices what a person would not."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.async_api import Error, Page, Request, Response

from tests.browser.profiles import Profile

ROOT = Path(__file__).resolve().parents[2]
FPS = "12"  # of the fake world: what a tab shows is drawn by processors here, and a picture is a picture
PATIENCE_S = 30.0  # a busy machine is slow, not broken
# Looks in the page itself, for half a second at a time: each question from here costs all four processes between.
WATCH = """new Promise((tell, fail) => {
    const end = performance.now() + 500;
    const look = () => {
        try {
            if (%s) tell(true);
            else if (performance.now() > end) tell(false);
            else setTimeout(look, 50);
        } catch (error) { fail(error); }
    };
    look();
})"""
GREEN_NOISE = 12  # of 255, what compression may do to it


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class FakeServer:
    """One `serve_fake.py` process."""

    log: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    program: tuple[str, ...] = (str(ROOT / "tests/realtime/serve_fake.py"),)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def start(self, *flags: str) -> None:
        """Returns when the server answers. Raises RuntimeError with its last words when it does not."""
        command = [sys.executable, *self.program, "--port", str(self.port), *flags]
        environment = {**os.environ, "PYTHONPATH": str(ROOT / ".links"), "WORLDSTREAM_FAKE_FPS": FPS}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        deadline = time.monotonic() + 3 * PATIENCE_S
        while time.monotonic() < deadline and self.process.poll() is None:
            if self.answers():
                return
            time.sleep(0.1)
        self.kill()
        raise RuntimeError(f"the fake server did not start: {self.log.read_text()[-2000:]}")

    def answers(self) -> bool:
        try:
            return bool(self.get("healthz")["ok"])
        except OSError:
            return False

    def get(self, path: str) -> dict[str, Any]:
        with urllib.request.urlopen(self.url + path, timeout=2) as response:
            answer: dict[str, Any] = json.load(response)
            return answer

    def wait_until_empty(self) -> None:
        """The page says goodbye when it is left; the server needs a moment to hear it."""
        deadline = time.monotonic() + PATIENCE_S
        while self.get("api/status")["live"] and time.monotonic() < deadline:
            time.sleep(0.05)

    def kill(self) -> None:
        """At once and without a word, as a crash would."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        self.process = None


@dataclass
class Visit:
    """One tab. Remembers every error in the console, every request to another host and every byte that came."""

    page: Page
    profile: Profile
    server: FakeServer
    forgiving: bool = False  # the test breaks the network, and the browser will complain about it
    complaints: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)

    def listen(self) -> None:
        self.page.on("console", lambda m: self.complaints.append(m.text) if m.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.complaints.append(f"uncaught: {error}"))
        self.profile.context.on("request", self._meet)
        self.profile.context.on("response", self._weigh)

    def _meet(self, request: Request) -> None:
        if not request.url.startswith((self.server.url, "data:", "blob:", "about:")):
            self.strangers.append(request.url)

    def _weigh(self, response: Response) -> None:
        self.sizes[response.url] = int(response.headers.get("content-length", 0))

    async def open(self, search: str = "") -> Visit:
        await self.page.goto(self.server.url + search)
        await self.until("document.getElementById('facts').textContent !== ''")
        return self

    async def enter(self, prompt: str = "forest at dawn", seed: int = 7) -> Visit:
        """Press the one button and wait for the world."""
        await self.page.fill("#prompt", prompt)
        await self.page.fill("#seed", str(seed))
        await self.page.click("text=Enter world")
        return self

    async def until(self, expression: str, patience_s: float = PATIENCE_S) -> None:
        """Wait until a JavaScript expression holds. (`wait_for_function` needs eval, which the page forbids.)"""
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            try:
                if await self.page.evaluate(WATCH % expression):
                    return
            except Error as error:  # the page went elsewhere, and what it comes to is asked next
                if "context was destroyed" not in error.message:
                    raise
        said = await self.page.evaluate("[window.worldstream?.state, document.body.innerText]")
        raise AssertionError(f"never became true: {expression}; the page says {said}")

    async def state(self, name: str, patience_s: float = PATIENCE_S) -> None:
        await self.until(f"worldstream.state === '{name}'", patience_s)

    async def ask(self, name: str) -> Any:
        """One of the page's diagnostics."""
        return await self.page.evaluate(f"worldstream.{name}")

    async def changes(self, measure: Callable[[], Any], patience_s: float = PATIENCE_S) -> None:
        """Wait until an awaitable measurement gives something else than it does now."""
        first = await measure()
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            if await measure() != first:
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"stayed {first}")

    async def holds(self, question: Callable[[], Any], patience_s: float = PATIENCE_S) -> None:
        """Wait until an awaitable question is answered with yes."""
        deadline = time.monotonic() + patience_s
        while not await question():
            assert time.monotonic() < deadline, f"never held: {question}"
            await asyncio.sleep(0.05)

    async def colour(self) -> list[int]:
        """Red, green and blue in the middle of the picture as the tab shows it."""
        pixel: list[int] = await self.page.evaluate(
            """() => {
                const box = document.getElementById("picture");
                const source = box.querySelector(box.dataset.shown);
                const canvas = new OffscreenCanvas(16, 10);
                const context = canvas.getContext("2d");
                context.drawImage(source, 0, 0, 16, 10);
                return [...context.getImageData(8, 5, 1, 1).data.slice(0, 3)];
            }"""
        )
        return pixel

    async def green_at_rest(self) -> int:
        """The fake world's green moves only when somebody walks; wait until it stands still and return it."""
        deadline = time.monotonic() + PATIENCE_S
        before = (await self.colour())[1]
        while time.monotonic() < deadline:
            await asyncio.sleep(0.4)
            now = (await self.colour())[1]
            if abs(now - before) < GREEN_NOISE:
                return now
            before = now
        raise AssertionError("the picture moves although nobody walks")

    async def green_leaves(self, rest: int) -> None:
        """Wait until the picture shows that somebody walks."""
        deadline = time.monotonic() + PATIENCE_S
        while abs((await self.colour())[1] - rest) < GREEN_NOISE:
            assert time.monotonic() < deadline, f"green stayed {rest}: nobody walks"
            await asyncio.sleep(0.05)

    async def hide(self, hidden: bool) -> None:
        """What the browser does when another tab comes to the front; headless tabs are never hidden."""
        value = "hidden" if hidden else "visible"
        await self.page.evaluate(
            f"""() => {{
                Object.defineProperty(document, "visibilityState", {{ value: "{value}", configurable: true }});
                document.dispatchEvent(new Event("visibilitychange"));
            }}"""
        )

    async def close(self) -> None:
        await self.page.goto("about:blank")  # a page that is left says goodbye; a tab that is closed may not
        self.profile.context.remove_listener("request", self._meet)
        self.profile.context.remove_listener("response", self._weigh)
