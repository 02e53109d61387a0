"""Minutes or an hour live: does the server stay small, quick and moving, and the world what was asked for?

    python benchmarks/soak.py [--quick] [--minutes M] [--json FILE] [--strips DIR [--prompt TEXT]]

Starts `worldstream serve` as a person would, wanders through a WebSocket by a seeded script, and samples the server's
resident memory, the frames per second of every ten seconds, pictures that do not change while the walker moves, and
what the drift monitor says. Memory counts from the end of the first tenth: buffers and caches have filled by then.

Without `--strips` the prompt changes twice a minute. With it the prompt stays, a film strip of every five minutes is
written, and the judge compares each stretch with the first minute: `--minutes 60 --strips benchmarks/results/hour`.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import psutil
from websockets.asyncio.client import ClientConnection, connect

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.report import Figure, at_least, at_most, print_table, quantile, write
from benchmarks.strips import Album, look_figures, looks, write_strips
from worldstream.realtime.config import InputConfig
from worldstream.realtime.protocol import Bye, Hello, Input, Prompt, decode_picture, encode
from worldstream.worlds.judge import load_judge
from worldstream.worlds.procedural.captions import parse
from worldstream.worlds.procedural.paths import FORWARD, PITCH, RIGHT, YAW, limited, walk
from worldstream.worlds.procedural.paths import Path as Walk
from worldstream.worlds.weights import SHIPPED

WINDOW_S = 10.0
PROMPTS = (
    "forest in the morning",
    "a foggy forest at dusk",
    "desert, golden hour",
    "snowy pines",
    "alien planet at night",
)
SEED = 1_940_000  # of the script: no other figure's
SCRIPT_HZ = 25.0
STRIP_S = 300.0


@dataclass(slots=True)
class Watch:
    """What the walker saw."""

    arrived: list[float] = field(default_factory=list)  # seconds since the start
    frozen: int = 0  # pictures equal to the one before while the walker moves
    memory: list[tuple[float, float]] = field(default_factory=list)  # seconds, MiB
    drift: Counter[str] = field(default_factory=Counter)  # what the monitor said, once a second
    reanchored: float = 0.0
    album: Album = field(default_factory=Album)


def script(seconds: float) -> Walk:
    """The wandering, one row for each of `SCRIPT_HZ`: the training walker's paths, one after another."""
    rng, rows = np.random.default_rng(SEED), 0
    parts: list[Walk] = []
    while rows < seconds * SCRIPT_HZ + 1:
        parts.append(walk(rng, 300))
        rows += 300
    return limited(np.concatenate(parts))


@contextmanager
def server(data: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A real server process on a free loopback port, stopped at the end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [sys.executable, "-m", "worldstream.realtime.cli", "serve", "--port", str(port), "--data", data]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            if process.poll() is not None:
                raise SystemExit(
                    f"the server stopped with code {process.returncode}; run `worldstream serve` to see why"
                )
            try:
                if httpx.get(f"http://127.0.0.1:{port}/api/world", timeout=1.0).status_code == 200:
                    break
            except httpx.HTTPError:
                pass
            time.sleep(0.5)
        yield process, port
    finally:
        process.terminate()
        process.wait(20)


async def wander(port: int, seconds: float, process: psutil.Process, prompts: tuple[str, ...]) -> Watch:
    """Follow the script, and change the prompt twice a minute where there are several."""
    watch, started, path = Watch(), time.monotonic(), script(seconds)
    moving = np.abs(path).sum(1) > 1e-3
    async with connect(f"ws://127.0.0.1:{port}/api/socket", max_size=None) as link:
        await link.send(encode(Hello(seed=7, prompt=prompts[0])))
        hands = asyncio.create_task(press(link, started, path, prompts))
        last, sampled = b"", 0.0
        while (now := time.monotonic() - started) < seconds:
            message = await asyncio.wait_for(link.recv(), 30.0)
            if isinstance(message, bytes):
                jpeg = decode_picture(message).payload
                picture = hashlib.blake2b(jpeg).digest()
                watch.frozen += picture == last and bool(moving[int(now * SCRIPT_HZ)])
                last = picture
                watch.arrived.append(time.monotonic() - started)
                watch.album.offer(now, jpeg)
            else:
                heed(watch, json.loads(message))
            if now - sampled >= 2.0:
                sampled = now
                watch.memory.append((now, process.memory_info().rss / 2**20))
        hands.cancel()
        with suppress(asyncio.CancelledError):
            await hands
        watch.reanchored = reanchorings(port)
        await link.send(encode(Bye()))
    return watch


def heed(watch: Watch, message: dict[str, object]) -> None:
    """One text message of the server's. Raises SystemExit where it ends the session."""
    if message.get("fatal"):
        raise SystemExit(f"the server ended the session: {message}")
    if message.get("type") == "stats":
        watch.drift[str(message.get("drift", "fine"))] += 1


def reanchorings(port: int) -> float:
    """How often walks were brought back since the server started."""
    text = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=5.0).text
    name = "worldstream_reanchorings_total "
    return sum(float(line.removeprefix(name)) for line in text.splitlines() if line.startswith(name))


async def press(link: ClientConnection, started: float, path: Walk, prompts: tuple[str, ...]) -> None:
    """Inputs at the script's rate: the stick for steps, the mouse for turns."""
    turned, pace = np.cumsum(path, 0), InputConfig().walk_m
    for row in range(len(path)):
        await asyncio.sleep(max(0.0, started + row / SCRIPT_HZ - time.monotonic()))
        right, forward = (float(np.clip(path[row, axis] / pace, -1.0, 1.0)) for axis in (RIGHT, FORWARD))
        yaw, pitch = (float(turned[row, axis]) for axis in (YAW, PITCH))
        await link.send(encode(Input(seq=row + 1, move=(right, forward), yaw=yaw, pitch=pitch)))
        change = int(30 * SCRIPT_HZ)
        if len(prompts) > 1 and row and row % change == 0:
            await link.send(encode(Prompt(prompt=prompts[row // change % len(prompts)])))


def figures_of(watch: Watch, seconds: float) -> list[Figure]:
    """Rates of whole windows, memory growth, frozen pictures."""
    rates = [
        sum(start <= t < start + WINDOW_S for t in watch.arrived) / WINDOW_S
        for start in (WINDOW_S * i for i in range(1, int(seconds / WINDOW_S)))
    ]
    settled = [m for t, m in watch.memory if t > seconds / 10]
    early, late = settled[: max(1, len(settled) // 10)], settled[-max(1, len(settled) // 10) :]
    growth = 100 * (sum(late) / len(late)) / (sum(early) / len(early)) - 100
    longest = max(b - a for a, b in zip(watch.arrived, watch.arrived[1:], strict=False))
    strayed = 1 - watch.drift["fine"] / max(1, watch.drift.total())
    return [
        at_most("memory growth", growth, "%", 5.0),
        at_most("frozen pictures", float(watch.frozen), "", 0.0),
        at_least("slowest ten seconds, share of the median", min(rates) / quantile(rates, 0.5), "", 0.9),
        Figure("frames per second, median", quantile(rates, 0.5), "fps"),
        Figure("frames per second, slowest ten seconds", min(rates), "fps"),
        Figure("longest gap between pictures", 1e3 * longest, "ms"),
        Figure("memory at the end", settled[-1], "MiB"),
        Figure("share of seconds in which the walk had strayed", strayed, ""),
        Figure("times that the walk was brought back", watch.reanchored, ""),
        Figure("minutes", seconds / 60, "min"),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--quick", action="store_true", help="40 seconds")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--strips", type=Path, help="keep to one prompt, and write film strips to this folder")
    parser.add_argument("--prompt", default=PROMPTS[0], help="the prompt of a walk with --strips; names a theme")
    arguments = parser.parse_args()
    if not arguments.minutes > 0:
        parser.error(f"--minutes must be positive, got {arguments.minutes:g}")
    if parse(arguments.prompt).theme is None:
        parser.error(f"--prompt {arguments.prompt!r} names no theme to judge; say for example {PROMPTS[0]!r}")
    seconds = 40.0 if arguments.quick else 60 * arguments.minutes
    prompts = (arguments.prompt,) if arguments.strips else PROMPTS
    with tempfile.TemporaryDirectory() as data, server(f"{data}/data") as (process, port):
        watch = asyncio.run(wander(port, seconds, psutil.Process(process.pid), prompts))
    figures = figures_of(watch, seconds)
    if arguments.strips:
        write_strips(arguments.strips, watch.album, seconds, STRIP_S)
        figures += look_figures(looks(watch.album, load_judge(SHIPPED), arguments.prompt, seconds, STRIP_S))
    print_table(figures)
    if arguments.json:
        write(arguments.json, figures)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
