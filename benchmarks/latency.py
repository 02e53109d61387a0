"""How long from a key to its picture, as a person at the page would measure it: in pixels.

    python benchmarks/latency.py [--quick] [--json FILE] [--url URL | --fake]

Starts `worldstream serve --stamp`, opens headless Chromium and, for each transport, measures the click on
"Enter world" to the first generated frame, the frame rate while walking, and the key press to the first *displayed*
frame whose barcode (realtime/stamp.py, decoded from pixels in the page) says that it answers this very input.
`--fake` serves the world of the tests instead: everything but the model.
"""

from __future__ import annotations

import argparse
import random
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.report import ROOT, Figure, at_least, at_most, print_table, quantile, write

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--no-first-run"]
WATCH = (Path(__file__).parent / "watch.js").read_text()
LOAD_WAIT_S = 180.0  # compiling a network takes a while on a busy machine
ANSWER_WAIT_S = 5.0
MIN_FPS = 24.0


@dataclass(frozen=True, slots=True)
class Effort:
    """How much to measure."""

    entries: int
    fps_s: float
    presses: int


FULL = Effort(entries=5, fps_s=60.0, presses=60)
QUICK = Effort(entries=2, fps_s=8.0, presses=15)


@dataclass(frozen=True, slots=True)
class Promise:
    """Targets of one transport; None where nothing is promised."""

    label: str
    first_frame_s: float
    p50_ms: float | None
    p95_ms: float | None


PROMISES = {
    "webrtc": Promise("WebRTC", 1.5, 120.0, 250.0),
    "websocket": Promise("WebSocket", 0.7, None, None),
}


@contextmanager
def server(fake: bool) -> Iterator[str]:
    """The address of a server of our own; it ends with the block."""
    port = _free_port()
    program = [str(ROOT / "tests/realtime/serve_fake.py")] if fake else ["-m", "worldstream.realtime.cli", "serve"]
    command = [sys.executable, *program, "--stamp", "--port", str(port), "--log-level", "warning"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}/"
    try:
        deadline = time.monotonic() + LOAD_WAIT_S
        while not _answers(url):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("latency: the server did not start; its last words are above")
            time.sleep(0.2)
        yield url
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url + "healthz", timeout=1) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def until(page: Page, expression: str, patience_s: float = 40.0) -> None:
    """Wait for a JavaScript expression. Raises TimeoutError with what the page says instead."""
    deadline = time.monotonic() + patience_s
    while not page.evaluate(expression):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{expression}; the page says: {page.inner_text('body')[:200]!r}")
        page.wait_for_timeout(10)


def enter(page: Page, url: str, transport: str) -> float:
    """Click on the button; seconds until the first picture with a barcode was on the screen."""
    page.goto(f"{url}?transport={transport}")
    until(page, "document.querySelector('.chip') !== null")
    page.evaluate(WATCH)
    page.click("text=Enter world")
    until(page, "watch.frames > 0")
    until(page, "worldstream.state === 'live'")
    return float(page.evaluate("watch.firstShownAt - watch.clickedAt")) / 1e3


def leave(page: Page) -> None:
    page.evaluate("document.querySelector('[data-do=leave]').click()")
    until(page, "worldstream.state === 'ended'")
    page.wait_for_timeout(300)  # the server gives the turn back


def measure_fps(page: Page, seconds: float) -> tuple[float, float]:
    """Different frames per second on the screen while walking, and the longest wait between two in ms."""
    page.keyboard.down("w")
    page.evaluate("watch.count()")
    page.wait_for_timeout(seconds * 1e3)
    counted: dict[str, float] = page.evaluate("watch.counted()")
    page.keyboard.up("w")
    return counted["fps"], counted["longestGapMs"]


def measure_presses(page: Page, presses: int, dice: random.Random) -> list[float]:
    """Milliseconds from each key press to the first displayed picture that answers it."""
    taken: list[float] = []
    for _ in range(presses):
        page.wait_for_timeout(dice.uniform(120.0, 380.0))  # any phase of the frame clock
        page.evaluate("watch.expect()")
        page.keyboard.down("w")
        until(page, "watch.answeredMs !== null", ANSWER_WAIT_S)
        taken.append(float(page.evaluate("watch.answeredMs")))
        page.keyboard.up("w")
    return taken


def measure(browser: Browser, url: str, transport: str, effort: Effort) -> list[Figure]:
    """All figures of one transport."""
    promise = PROMISES[transport]
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.set_default_timeout(60_000)
    first: list[float] = []
    for entry in range(effort.entries):
        first.append(enter(page, url, transport))
        if entry < effort.entries - 1:
            leave(page)
    page.wait_for_timeout(1500)  # the encoder and the jitter buffer settle
    fps, gap_ms = measure_fps(page, effort.fps_s)
    taken = measure_presses(page, effort.presses, random.Random(7))
    said: dict[str, Any] = page.evaluate("({ stats: worldstream.stats, unread: watch.unread, frames: watch.frames })")
    leave(page)
    page.close()

    name = promise.label
    stats = said["stats"] or {}
    return [
        at_most(
            f"{name}: click to first frame, median of {len(first)}", quantile(first, 0.5), "s", promise.first_frame_s
        ),
        Figure(f"{name}: click to first frame, slowest", max(first), "s"),
        at_least(f"{name}: frames shown over {effort.fps_s:g} s", fps, "fps", MIN_FPS),
        Figure(f"{name}: longest wait between two frames", gap_ms, "ms"),
        _limited(f"{name}: key to changed picture, p50 of {len(taken)}", quantile(taken, 0.5), promise.p50_ms),
        _limited(f"{name}: key to changed picture, p95 of {len(taken)}", quantile(taken, 0.95), promise.p95_ms),
        Figure(f"{name}: model, per frame", float(stats.get("model_ms", 0.0)), "ms"),
        Figure(
            f"{name}: pictures whose barcode could not be read", 100.0 * said["unread"] / max(1, said["frames"]), "%"
        ),
    ]


def _limited(name: str, value: float, limit: float | None) -> Figure:
    return Figure(name, value, "ms") if limit is None else at_most(name, value, "ms", limit)


def run(url: str, effort: Effort) -> tuple[list[Figure], str]:
    """The figures of both transports, and the browser's version."""
    chromium = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if chromium is None:
        raise SystemExit("latency: no browser; run `sudo apt-get install chromium`")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        figures = [figure for transport in PROMISES for figure in measure(browser, url, transport, effort)]
        version = browser.version
        browser.close()
    return figures, version


def main() -> None:
    parser = argparse.ArgumentParser(description="Key press to picture, first frame, frame rate; in pixels.")
    parser.add_argument("--url", help="measure a server that runs already, with --stamp")
    parser.add_argument("--fake", action="store_true", help="serve the world of the tests: everything but the model")
    parser.add_argument("--quick", action="store_true", help="a minute instead of four")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    options = parser.parse_args()
    effort = QUICK if options.quick else FULL
    if options.url:
        figures, chromium = run(options.url.rstrip("/") + "/", effort)
    else:
        with server(options.fake) as url:
            figures, chromium = run(url, effort)
    print_table(figures)
    if options.json:
        write(options.json, figures, {"chromium": chromium})


if __name__ == "__main__":
    main()
