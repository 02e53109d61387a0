"""How well a video is edited by words: the asked attribute by the judge, and the motion of the source.

    python benchmarks/edits.py [--quick] [--json FILE] [--clips N] [--sheet FILE] [--processes N] [--sweep]

Sources are true walks of seeds that no training saw, rendered at 256x160 where their light shows something, and walks
that the model drew itself. Each is asked for one other attribute: a time of day, a weather, a mood, or the season or
style of another theme. The judge reads every fourth frame; the motion is the correlation of the dense optical flow of
the edit with that of its source, over all pixels and frames. `ceiling` is the same of a true render of that walk in the
asked look, which no edit ever sees: what the judge can read, and what another light does to optical flow.
"""

from __future__ import annotations

import argparse
import itertools
import math
import multiprocessing
import os
import random
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.report import Figure, at_least, print_table, write
from worldstream.worlds.core import Action
from worldstream.worlds.edit_look import load_look
from worldstream.worlds.edit_plan import Bench
from worldstream.worlds.edit_redraw import Redraw, RedrawConfig
from worldstream.worlds.edit_words import wish
from worldstream.worlds.judge import Judge, judged_size, load_judge
from worldstream.worlds.procedural.attributes import MOODS, THEMES, TIMES, WEATHERS, Attributes
from worldstream.worlds.procedural.episodes import TEST_SEED, cameras_along, draw_attributes, start_camera
from worldstream.worlds.procedural.paths import walk
from worldstream.worlds.procedural.renderer import render
from worldstream.worlds.procedural.scene import scene_vector
from worldstream.worlds.training.look import recoloured
from worldstream.worlds.weights import SHIPPED, load_world

Film = NDArray[np.uint8]  # [T, H, W, 3]
KINDS = ("season or style", "time of day", "weather", "mood")
NAMES = (THEMES, TIMES, WEATHERS, MOODS)
SEASONS = tuple(
    THEMES.index(name)
    for name in ("forest", "desert", "snowy pines", "canyon", "autumn forest", "tropical island", "alien planet")
)
FIRST_SEED = TEST_SEED + 920_000
CONTRAST = 18.0  # deviation of grey, of 255, below which a source shows too little to follow
MOVES_M = 0.05  # mean motion a frame, in metres and radians, below which there is none to keep
EVERY = 4
AT_LEAST_MOTION, AT_LEAST_ASKED = 0.8, 0.8


@dataclass(frozen=True, slots=True)
class Case:
    """One source and what is asked of it."""

    source: Film
    truth: Film | None  # in the asked look; None where there is none
    kind: int  # of KINDS
    asked: int  # index into its NAMES
    seed: int

    @property
    def word(self) -> str:
        return NAMES[self.kind][self.asked]


@dataclass(frozen=True, slots=True)
class Score:
    """Of one edit."""

    kind: int
    asked: float  # share of frames in which the judge reads what was asked for
    motion: float
    sharpness: float  # edge energy, share of the source's


def other(a: Attributes, kind: int, rng: random.Random) -> Attributes:
    """With another value of one attribute."""
    if kind == 0:
        return replace(a, theme=rng.choice([theme for theme in SEASONS if theme != a.theme]))
    name = ("theme", "time", "weather", "mood")[kind]
    size = len(NAMES[kind])
    return replace(a, **{name: (getattr(a, name) + 1 + rng.randrange(size - 1)) % size})


def shows_something(source: Film, path: NDArray[np.float32]) -> bool:
    grey = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).std() for picture in source[:: len(source) - 1]]
    return min(grey) >= CONTRAST and float(np.abs(path[1:]).sum(1).mean()) >= MOVES_M


def cases(count: int, frames: int, first: int = 0) -> Iterator[Case]:
    """True walks, theme after theme and kind after kind."""
    for i in range(first, first + count):
        for attempt in range(50):
            seed = FIRST_SEED + i + 10_000 * attempt
            rng = random.Random(seed)
            place = draw_attributes(rng, i % len(THEMES))
            vector, path = scene_vector(place, seed), walk(np.random.default_rng(seed), frames)
            cameras = cameras_along(vector, path, start_camera(vector, rng))
            source, _ = render(vector, cameras, 256, 160)
            if shows_something(source, path):
                break
        kind = (i // len(THEMES) + i) % len(KINDS)
        wanted = other(place, kind, rng)
        truth, _ = render(recoloured(place, wanted, seed), cameras, 256, 160)
        names = (wanted.theme, wanted.time, wanted.weather, wanted.mood)
        yield Case(source, truth, kind, names[kind], seed)


def own_cases(bench: Bench, count: int, frames: int, first: int = 0) -> Iterator[Case]:
    """Walks that the model drew, from prompts alone."""
    for i in range(first, first + count):
        rng = random.Random(FIRST_SEED + i)
        place = replace(draw_attributes(rng, i % len(THEMES)), time=rng.randrange(1, 4), weather=rng.randrange(2))
        rollout = bench.world.rollout()
        rollout.reset(i, ", ".join(place.names()))
        pictures = []
        for t in range(frames):
            action = Action(forward_m=0.25, yaw_rad=math.radians(1.5) * math.sin(t / 6)) if t else Action()
            pictures += [frame.rgb for frame in rollout.step(action)]
        kind = (i // len(THEMES) + i) % len(KINDS)
        wanted = other(place, kind, rng)
        names = (wanted.theme, wanted.time, wanted.weather, wanted.mood)
        yield Case(np.stack(pictures), None, kind, names[kind], i)


def edited(bench: Bench, case: Case, config: RedrawConfig, look: bool = True, draws: bool | None = None) -> Film:
    """As a task would edit it."""
    effect = Redraw(
        bench.world, bench.look if look else None, bench.motion(), wish(case.word), case.seed % 1000, 1.0, config, draws
    )
    effect.begin(case.source[0])
    return np.stack([effect.frame(picture, i) for i, picture in enumerate(case.source)])


def flow(film: Film) -> NDArray[np.float32]:
    """Dense optical flow from frame to frame, all of it in one row."""
    method = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    grey = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in film]
    moved = [method.calc(a, b, np.empty(0, np.float32)) for a, b in itertools.pairwise(grey)]
    return np.asarray(np.stack(moved), np.float32).ravel()


def motion_kept(source: Film, edit: Film) -> float:
    """Pearson correlation of the two flows."""
    return float(np.corrcoef(flow(source), flow(edit))[0, 1])


def edges(film: Film) -> float:
    return float(np.mean([np.abs(cv2.Laplacian(picture, cv2.CV_32F)).mean() for picture in film[::EVERY]]))


@torch.inference_mode()
def scored(judge: Judge, case: Case, edit: Film) -> Score:
    pictures = torch.from_numpy(edit[::EVERY]).permute(0, 3, 1, 2).float() / 255
    read = judge.read(judged_size(pictures))[case.kind].argmax(-1)
    asked = float((read == case.asked).float().mean())
    return Score(case.kind, asked, motion_kept(case.source, edit), edges(edit) / max(1e-6, edges(case.source)))


def mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan


def figures_of(name: str, made: Sequence[Score], true: Sequence[Score], promised: bool) -> list[Figure]:
    """In all, then by kind. What the judge reads in true renders stands beside it."""
    out = []
    motion, asked = (
        f"edits of {name}: {what}" for what in ("flow correlation with the source", "asked attribute read")
    )
    for label, of, field, target in (
        (motion, "", "motion", AT_LEAST_MOTION), (asked, "", "asked", AT_LEAST_ASKED),
    ):  # fmt: skip
        value = mean([getattr(s, field) for s in made])
        bare = at_least(label, value, of, target) if promised else Figure(label, value, of)
        out.append(replace(bare, ceiling=mean([getattr(s, field) for s in true]) if true else None))
    for kind, kind_name in enumerate(KINDS):
        for label, field in ((motion, "motion"), (asked, "asked")):
            mine, best = ([getattr(s, field) for s in scores if s.kind == kind] for scores in (made, true))
            if mine:
                out.append(Figure(f"{label}, {kind_name}", mean(mine), "", ceiling=mean(best) if best else None))
    out.append(Figure(f"edits of {name}: sharpness, share of the source's", mean([s.sharpness for s in made]), ""))
    return out


def set_up(engine: str = "eager") -> Bench:
    torch.set_num_threads(1)
    return Bench(load_world(None, engine=engine, threads=1), load_judge(SHIPPED), load_look(SHIPPED))


Variant = tuple[str, RedrawConfig, bool, bool | None]  # name, configuration, with the network of looks, draws
AS_SHIPPED: Variant = ("as shipped", RedrawConfig(), True, None)
SWEEP: tuple[Variant, ...] = (
    AS_SHIPPED,
    ("looks alone", RedrawConfig(), True, False),
    ("world model alone", RedrawConfig(), False, True),
    ("both, half and half", RedrawConfig(share=0.5), True, True),
    ("world model alone, first frame from 0.8", RedrawConfig(first_level=0.8), True, True),
    ("world model alone, other frames from 0.35", RedrawConfig(level=0.35), True, True),
)


def share(job: tuple[str, int, int, int, Variant]) -> tuple[list[Score], list[Score], list[Film]]:
    """Some of the cases: (edits, true renders, strips of source and edit)."""
    name, first, count, frames, (_, config, look, draws) = job
    bench = set_up()
    made: list[Score] = []
    true: list[Score] = []
    strips: list[Film] = []
    for case in cases(count, frames, first) if name == "true walks" else own_cases(bench, count, frames, first):
        edit = edited(bench, case, config, look, draws)
        made.append(scored(bench.judge, case, edit))
        if case.truth is not None:
            true.append(scored(bench.judge, case, case.truth))
        strips.append(strip(case, edit))
    return made, true, strips


def strip(case: Case, edit: Film, moments: int = 5) -> Film:
    """Source above, edit below."""
    at = np.linspace(0, len(edit) - 1, moments).round().astype(int)
    rows = [np.concatenate([cv2.resize(film[i], (192, 120)) for i in at], 1) for film in (case.source, edit)]
    out = np.ascontiguousarray(np.concatenate(rows))
    cv2.putText(out, case.word, (4, 134), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1, cv2.LINE_AA)
    return out


def measured(
    name: str, count: int, frames: int, variant: Variant, processes: int
) -> tuple[list[Score], list[Score], list[Film]]:
    """Of all cases, dealt to processes: (edits, true renders, strips)."""
    each = -(-count // processes)
    jobs = [(name, i, min(each, count - i), frames, variant) for i in range(0, count, each)]
    if processes == 1:
        parts = [share(job) for job in jobs]
    else:
        os.environ["OMP_NUM_THREADS"] = os.environ["NUMBA_NUM_THREADS"] = "1"
        with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
            parts = list(pool.map(share, jobs))
    made, true, strips = ([x for part in column for x in part] for column in zip(*parts, strict=True))
    return made, true, strips


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--quick", action="store_true", help="four short clips")
    parser.add_argument("--clips", type=int, default=72, help="true walks")
    parser.add_argument("--frames", type=int, default=17, help="of each")
    parser.add_argument("--processes", type=int, default=1, help="cases side by side, each on one thread")
    parser.add_argument("--sheet", type=Path, help="a film strip of sources and edits")
    parser.add_argument("--sweep", action="store_true", help="print variants beside each other, and write nothing")
    given = parser.parse_args()
    if min(given.clips, given.frames - 8, given.processes) < 1:
        parser.error("--clips and --processes must be 1 or more, --frames 9 or more")
    count, frames = (4, 9) if given.quick else (given.clips, given.frames)
    if given.sweep:
        for variant in SWEEP:
            made, true, _ = measured("true walks", count, frames, variant, given.processes)
            print(f"\n{variant[0]}")
            print_table(figures_of("true walks", made, true, promised=True))
        return 0
    made, true, strips = measured("true walks", count, frames, AS_SHIPPED, given.processes)
    figures = figures_of("true walks", made, true, promised=True)
    own, _, own_strips = measured("the model's own walks", max(2, count // 4), frames, AS_SHIPPED, given.processes)
    figures += figures_of("the model's own walks", own, [], promised=False)
    if given.sheet:
        shown = [*strips[:14], *own_strips[:4]]
        Image.fromarray(np.concatenate(shown)).save(given.sheet)
    print_table(figures)
    if given.json:
        write(given.json, figures, {"clips": str(count), "frames": str(frames), "rate": str(Fraction(25))})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
