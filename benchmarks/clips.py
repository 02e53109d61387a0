"""Clips and pictures made offline: how fast, how true to words and keyframes.

    python benchmarks/clips.py [--quick] [--json FILE] [--sheets FOLDER] [--threads N]

Runs the jobs that the server runs, in this process, on the default world, and prints: seconds for a clip of 10 s at the
embedded size and at 1280x720, and where they go; milliseconds from the order to the first preview, warm; how well the
first and last frames are those that were given, and whether there is a jump where two walks meet; whether the judge
sees in first frames what the prompt asked for, of long prompts too. With --sheets, contact sheets to look at.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.report import Figure, at_least, at_most, print_table, quantile, write
from worldstream.realtime.jobs.clips import clip
from worldstream.realtime.jobs.contract import JobOrder, JobResult
from worldstream.realtime.jobs.stills import still
from worldstream.worlds.clip_walks import meeting
from worldstream.worlds.clip_words import read_words
from worldstream.worlds.core import Action
from worldstream.worlds.judge import Judge, judged_size, load_judge
from worldstream.worlds.machine import cores
from worldstream.worlds.procedural.attributes import THEMES, Attributes
from worldstream.worlds.procedural.episodes import TEST_SEED, episode
from worldstream.worlds.procedural.paths import FORWARD, YAW
from worldstream.worlds.training.adherence import NAMES, drawn_attributes, prompt_of, right
from worldstream.worlds.weights import SHIPPED, LoadedWorld, load_world

Picture = NDArray[np.uint8]
SIZES = ((256, 160), (1280, 720))
LONG = (
    "A breathtaking cinematic establishing shot captured on 35mm film, highly detailed and photorealistic, of a "
    "beautiful {}, with a small dog that runs happily towards its owner"
)


@dataclass(frozen=True, slots=True)
class Effort:
    """How much to measure."""

    seconds: float  # of the clip that is timed
    previews: int
    pairs: int  # of keyframes
    each: int  # prompts a theme


FULL, QUICK = Effort(10.0, 10, 6, 4), Effort(2.0, 3, 2, 1)


@dataclass
class Bench:
    """One world, and a folder for what it makes. Satisfies `Workshop`."""

    loaded: LoadedWorld
    data: Path
    orders: int = 0
    shown: list[tuple[str, list[Picture]]] = field(default_factory=list)

    def setting(self, name: str) -> str:
        return ""

    def world(self, name: str = "") -> Any:
        return self.loaded

    def order(self, kind: str, inputs: Mapping[str, Path] | None = None, **params: Any) -> JobOrder:
        self.orders += 1
        folder = self.data / f"order-{self.orders}"
        folder.mkdir()
        return JobOrder(str(self.orders), kind, params, inputs or {}, folder)


@dataclass
class Watch:
    """A `Tell` that notes when it heard what."""

    began_s: float = field(default_factory=time.perf_counter)
    first_s: float | None = None
    fractions: list[float] = field(default_factory=list)

    def __call__(self, fraction: float, preview: Picture | None = None) -> None:
        self.fractions.append(fraction)
        if preview is not None and self.first_s is None:
            self.first_s = time.perf_counter() - self.began_s


def frames_of(result: JobResult) -> list[Picture]:
    with av.open(str(result.outputs[0].path)) as container:
        return [np.asarray(f.to_ndarray(format="rgb24"), np.uint8) for f in container.decode(video=0)]


def speed(bench: Bench, effort: Effort) -> list[Figure]:
    """A clip of ten seconds at both sizes: seconds, and core-seconds, of which four cores have four a second."""
    figures = []
    for width, height in SIZES:
        asked: dict[str, Any] = {
            "prompt": "a misty forest at dawn",
            "seconds": effort.seconds,
            "width": width,
            "height": height,
        }
        busy, watch = time.process_time(), Watch()
        made = clip(bench.order("clip", **asked, seed=1, camera="[00:00] dolly in"), bench, watch)
        took, busy = time.perf_counter() - watch.began_s, time.process_time() - busy
        name = f"clip of {effort.seconds:g} s at {width}x{height}"
        figures += [
            at_most(f"{name}: done after", took, "s", effort.seconds),
            Figure(f"{name}: core time, all threads", busy, "s"),
        ]
        assert watch.fractions == sorted(watch.fractions), "progress fell"
        assert made.facts["frames"] == round(effort.seconds * bench.loaded.fps), made.facts
    figures.append(_model_alone(bench))
    return figures


def _model_alone(bench: Bench, frames: int = 60) -> Figure:
    """What the model takes with nothing beside it."""
    rollout = bench.loaded.rollout()
    rollout.reset(1, "misty, forest, dawn")
    began = 0.0
    for i in range(frames + 5):
        if i == 5:
            began = time.perf_counter()
        for _ in rollout.step(Action(forward_m=0.05)):
            pass
    return Figure("the model alone, a frame", 1e3 * (time.perf_counter() - began) / frames, "ms")


def previews(bench: Bench, effort: Effort) -> list[Figure]:
    taken = []
    for i in range(effort.previews):
        watch = Watch()
        asked: dict[str, Any] = {
            "prompt": f"{THEMES[i % len(THEMES)]} at noon",
            "seconds": 0.4,
            "width": 1280,
            "height": 720,
        }
        clip(bench.order("clip", **asked, seed=i), bench, watch)
        assert watch.first_s is not None
        taken.append(1e3 * watch.first_s)
    return [
        at_most(f"first preview after the order, warm, median of {len(taken)}", quantile(taken, 0.5), "ms", 500.0),
        Figure("first preview after the order, warm, slowest", max(taken), "ms"),
    ]


def psnr(a: Picture, b: Picture) -> float:
    error = float(np.mean((a.astype(np.float64) - b) ** 2))
    return 99.0 if error == 0 else 10 * float(np.log10(255**2 / error))


def keyframes(bench: Bench, effort: Effort) -> list[Figure]:
    """Pairs of true pictures, half of one place some steps apart, half of two places, as first and last frame."""
    found: dict[str, list[float]] = {"first": [], "last": [], "one place": [], "two places": []}
    for i in range(effort.pairs):
        kind = ("one place", "two places")[i % 2]
        given = {name: bench.data / f"{i}-{name}.png" for name in ("first", "last")}
        pair = _true_pair(i, other=kind == "two places")
        for path, rgb in zip(given.values(), pair, strict=True):
            Image.fromarray(rgb).save(path)
        asked: dict[str, Any] = {"prompt": "", "seconds": 4.0, "width": 640, "height": 400, "camera": "slow dolly in"}
        shown = frames_of(clip(bench.order("clip", given, **asked, seed=i), bench, Watch()))
        found["first"].append(psnr(shown[0], pair[0]))
        found["last"].append(psnr(shown[-1], pair[1]))
        change = [float(np.abs(a.astype(np.int16) - b).mean()) for a, b in zip(shown[1:], shown, strict=False)]
        begin, end = meeting(len(shown))
        usual = float(np.median([*change[15 : begin - 1], *change[end + 1 : -15]]))
        found[kind].append(max(change[begin - 1 : end + 1]) / usual)
        bench.shown.append((f"{kind}, {len(shown)} frames", [shown[j] for j in _eight(len(shown))]))
    return [
        at_least("first frame against the picture that was given, mean", float(np.mean(found["first"])), "dB", 30.0),
        at_least("last frame against the picture that was given, mean", float(np.mean(found["last"])), "dB", 30.0),
        at_most("largest change where two walks meet, one place, of the usual", max(found["one place"]), "x", 3.0),
        at_most("largest change where two walks meet, two places, of the usual", max(found["two places"]), "x", 3.0),
    ]


def _true_pair(index: int, other: bool) -> tuple[Picture, Picture]:
    path = np.zeros((100, 4), np.float32)
    path[:, FORWARD], path[:, YAW] = 0.05, 0.003

    def render(theme: int, time: int) -> NDArray[np.uint8]:
        a = Attributes(theme % len(THEMES), time, 0, 0, 0.5, 0.4, 0.5)
        return episode(TEST_SEED + 40 + index, 100, 640, 400, path=path, attributes=a, changes=False).rgb

    begin = render(index, 2)
    return begin[0], (render(index + 5, 4) if other else begin)[-1]


def _eight(count: int) -> list[int]:
    return [int(j) for j in np.linspace(0, count - 1, 8)]


def adherence(bench: Bench, judge: Judge, effort: Effort) -> list[Figure]:
    """First frames by the judge: as the live world draws plain prompts, and of clips and pictures from long ones."""
    wanted = drawn_attributes(range(len(THEMES)), effort.each)
    drawn: dict[str, list[Picture]] = {"live, plain prompt": [], "live, long prompt": [], "clip, long prompt": [],
                                       "still, long prompt": []}  # fmt: skip
    rollout = bench.loaded.rollout()
    for i, a in enumerate(wanted):
        long = LONG.format(prompt_of(a))
        asked = {"plain": prompt_of(a), "long": long, "clip": read_words(long, 1.0).prompt}
        for name, (kind, prompt) in zip(drawn, asked.items(), strict=False):
            assert kind in name, (kind, name)
            rollout.reset(i, prompt)
            drawn[name].append(next(iter(rollout.step(Action()))).rgb)
        made = still(bench.order("still", prompt=long, width=256, height=160, seed=i), bench, Watch())
        drawn["still, long prompt"].append(np.asarray(Image.open(made.outputs[0].path), np.uint8))
    figures, kept = [], {}
    for name, pictures in drawn.items():
        stack = torch.from_numpy(np.stack(pictures).astype(np.float32)).permute(0, 3, 1, 2) / 255
        kept[name] = right(judge, judged_size(stack), wanted)
        figures += [Figure(f"{what} as asked, {name}", r, "") for what, r in zip(NAMES, kept[name], strict=True)]
        bench.shown.append((name, pictures[:: max(1, len(pictures) // 8)][:8]))
    gap = kept["live, plain prompt"][0] - kept["clip, long prompt"][0]
    figures.append(at_most("theme: what a clip's long prompt costs against the live world's plain one", gap, "", 0.05))
    return figures


def write_sheets(folder: Path, shown: Sequence[tuple[str, list[Picture]]]) -> None:
    """One JPEG: a row for each entry."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for _, pictures in shown:
        row = [np.asarray(Image.fromarray(p).resize((192, 120))) for p in pictures]
        rows.append(np.hstack([*row, *[np.zeros_like(row[0])] * (8 - len(row))]))
    Image.fromarray(np.vstack(rows)).save(folder / "clips.jpg", quality=88)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a minute instead of several: short clips, few prompts")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    parser.add_argument("--sheets", type=Path, metavar="FOLDER", help="write contact sheets here")
    parser.add_argument("--threads", type=int, help="of the model; all cores, as in jobs, where it is not said")
    parser.add_argument("--engine", default="auto", help="of the model: auto, eager, openvino, cuda")
    parser.add_argument("--only", choices=("speed", "previews", "keyframes", "adherence"), help="measure this alone")
    options = parser.parse_args()
    effort = QUICK if options.quick else FULL
    loaded = load_world(engine=options.engine, threads=options.threads or cores())
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(loaded, Path(folder))
        clip(bench.order("clip", prompt="forest", seconds=0.4, width=256, height=160, seed=0), bench, Watch())  # warm
        parts: dict[str, Callable[[], list[Figure]]] = {
            "previews": lambda: previews(bench, effort),
            "speed": lambda: speed(bench, effort),
            "keyframes": lambda: keyframes(bench, effort),
            "adherence": lambda: adherence(bench, load_judge(SHIPPED), effort),
        }
        figures = [f for name, part in parts.items() if options.only in (None, name) for f in part()]
        if options.sheets:
            write_sheets(options.sheets, bench.shown)
    print_table(figures)
    if options.json:
        write(
            options.json, figures, {"world": loaded.sha256[:12], "engine": loaded.engine, "load": str(os.getloadavg())}
        )


if __name__ == "__main__":
    main()
