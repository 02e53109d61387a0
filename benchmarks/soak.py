"""Ten minutes live: does the server stay small, quick and moving?

    python benchmarks/soak.py [--quick] [--minutes M] [--json FILE]

Starts `worldstream serve` as a person would, walks through a WebSocket with changing keys and prompts, and samples
the server's resident memory, the frames per second of every ten seconds, and pictures that do not change while a key
is held. Memory counts from the end of the first tenth: buffers and caches have filled by then.
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
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
from websockets.asyncio.client import ClientConnection, connect

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.report import Figure, at_least, at_most, print_table, quantile, write
from worldstream.realtime.protocol import Bye, Hello, Input, Prompt, decode_picture, encode

WINDOW_S = 10.0
PROMPTS = (
    "forest in the morning",
    "a foggy forest at dusk",
    "desert, golden hour",
    "snowy pines",
    "alien planet at night",
)
KEYS = (("forward",), ("forward", "turn_left"), ("left",), ("back",), ("right", "turn_right"), ("turn_right",))


@dataclass(slots=True)
class Watch:
    """What the walker saw."""

    arrived: list[float] = field(default_factory=list)  # seconds since the start
    frozen: int = 0  # pictures equal to the one before
    memory: list[tuple[float, float]] = field(default_factory=list)  # seconds, MiB


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


async def walk(port: int, seconds: float, process: psutil.Process) -> Watch:
    """Hold keys, change them every two seconds and the prompt twice a minute."""
    watch, started = Watch(), time.monotonic()
    async with connect(f"ws://127.0.0.1:{port}/api/socket", max_size=None) as link:
        await link.send(encode(Hello(seed=7, prompt=PROMPTS[0])))
        hands = asyncio.create_task(press(link, started, seconds))
        last, sampled = b"", 0.0
        while (now := time.monotonic() - started) < seconds:
            message = await asyncio.wait_for(link.recv(), 30.0)
            if isinstance(message, bytes):
                picture = hashlib.blake2b(decode_picture(message).payload).digest()
                watch.frozen += picture == last
                last = picture
                watch.arrived.append(time.monotonic() - started)
            elif json.loads(message).get("fatal"):
                raise SystemExit(f"the server ended the session: {message}")
            if now - sampled >= 2.0:
                sampled = now
                watch.memory.append((now, process.memory_info().rss / 2**20))
        hands.cancel()
        await link.send(encode(Bye()))
    return watch


async def press(link: ClientConnection, started: float, seconds: float) -> None:
    """Inputs at 30 Hz."""
    seq = 0
    while (now := time.monotonic() - started) < seconds:
        seq += 1
        keys = frozenset(KEYS[int(now / 2.0) % len(KEYS)])
        await link.send(encode(Input(seq=seq, keys=keys, yaw=0.2 * now)))
        if seq % 900 == 0:
            await link.send(encode(Prompt(prompt=PROMPTS[seq // 900 % len(PROMPTS)])))
        await asyncio.sleep(1 / 30)


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
    return [
        at_most("memory growth", growth, "%", 5.0),
        at_most("frozen pictures", float(watch.frozen), "", 0.0),
        at_least("slowest ten seconds, share of the median", min(rates) / quantile(rates, 0.5), "", 0.9),
        Figure("frames per second, median", quantile(rates, 0.5), "fps"),
        Figure("frames per second, slowest ten seconds", min(rates), "fps"),
        Figure("longest gap between pictures", 1e3 * longest, "ms"),
        Figure("memory at the end", settled[-1], "MiB"),
        Figure("minutes", seconds / 60, "min"),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--quick", action="store_true", help="40 seconds")
    parser.add_argument("--minutes", type=float, default=10.0)
    arguments = parser.parse_args()
    seconds = 40.0 if arguments.quick else 60 * arguments.minutes
    with tempfile.TemporaryDirectory() as data, server(f"{data}/data") as (process, port):
        watch = asyncio.run(walk(port, seconds, psutil.Process(process.pid)))
    figures = figures_of(watch, seconds)
    print_table(figures)
    if arguments.json:
        write(arguments.json, figures)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
