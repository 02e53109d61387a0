"""Frames per second of the procedural renderer: per theme and mean, with smooth edges and with one sample a pixel.

    python benchmarks/renderer.py [--quick] [--json FILE]

Wall time on all cores counts only where nothing else runs; the CPU time of one thread, which a busy machine disturbs
less, is measured beside it, in a process of its own. The first run compiles the kernel (about half a minute).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.report import Figure, at_least, print_table, write
from worldstream.worlds.machine import cores

WIDTH_PX, HEIGHT_PX = 256, 144
TARGET_FPS = 100.0
CASE = """
import json, sys, time
frames, repeats, width, height = map(int, sys.argv[1:])
import random
import numpy as np
from worldstream.worlds.procedural.attributes import THEMES
from worldstream.worlds.procedural.episodes import draw_attributes, start_camera
from worldstream.worlds.procedural.renderer import eye_height, render
from worldstream.worlds.procedural.scene import scene_vector

def views(theme):
    rng, vectors, cameras = random.Random(theme), [], []
    for seed in range(frames):
        vector = scene_vector(draw_attributes(rng, theme), seed)
        x, z, yaw = start_camera(vector, rng)
        vectors.append(vector)
        cameras.append((x, eye_height(vector, x, z), z, yaw, rng.gauss(0, 0.1)))
    return np.stack(vectors), np.array(cameras)

answer = {}
render(*views(0), width, height)
for theme, name in enumerate(THEMES):
    scenes, cameras = views(theme)
    for smooth in (True, False):
        wall = cpu = float("inf")
        for _ in range(repeats):
            started, cpu_started = time.perf_counter(), time.process_time()
            render(scenes, cameras, width, height, smooth)
            wall = min(wall, (time.perf_counter() - started) / frames)
            cpu = min(cpu, (time.process_time() - cpu_started) / frames)
        answer[name + ("" if smooth else ", 1 sample")] = [wall, cpu]
print(json.dumps(answer))
"""


def measure(threads: int, frames: int, repeats: int) -> dict[str, tuple[float, float]]:
    """Seconds a frame per case: wall time and CPU time, each the best of `repeats` batches of `frames` places."""
    arguments = [sys.executable, "-c", CASE, *map(str, (frames, repeats, WIDTH_PX, HEIGHT_PX))]
    environment = {**os.environ, "NUMBA_NUM_THREADS": str(threads)}
    done = subprocess.run(arguments, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return {name: (wall, cpu) for name, (wall, cpu) in json.loads(done.stdout).items()}


def mean(times: dict[str, tuple[float, float]], which: int, smooth: bool) -> float:
    """Mean seconds a frame over the themes."""
    chosen = [seconds[which] for name, seconds in times.items() if name.endswith(", 1 sample") != smooth]
    return sum(chosen) / len(chosen)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer places, and no repeats")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    arguments = parser.parse_args()
    threads = min(4, cores())
    frames, repeats = (4, 1) if arguments.quick else (16, 5)
    together, alone = measure(threads, frames, repeats), measure(1, frames, repeats)
    size = f"{WIDTH_PX}x{HEIGHT_PX}"
    figures = [
        at_least(f"mean, {size}, {threads} threads", 1 / mean(together, 0, True), "fps", TARGET_FPS),
        Figure(f"mean, {size}, {threads} threads, 1 sample", 1 / mean(together, 0, False), "fps"),
        Figure("CPU time a frame, 1 thread", 1e3 * mean(alone, 1, True), "ms"),
        Figure("CPU time a frame, 1 thread, 1 sample", 1e3 * mean(alone, 1, False), "ms"),
    ]
    figures += [Figure(f"{name}, {threads} threads", 1 / wall, "fps") for name, (wall, _) in together.items()]
    print_table(figures)
    if arguments.json:
        write(arguments.json, figures)


if __name__ == "__main__":
    main()
