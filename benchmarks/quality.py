"""How good the drawn world is, on seeds that no training saw.

    python benchmarks/quality.py [--quick] [--json FILE] [--world NAME] [--steps N] [--sheets DIR]
                                 [--processes N] [--only PART ...]

The next frame from true context; free rollouts of 16 and 64 frames, on what was seen before and on the whole frame;
whether they obey each command; whether a place that was left is the same on return, with memory and without; what a
turn of 90 degrees reveals; 3,000 frames of wandering; whether prompts are obeyed. PSNR rewards blur: the sharpness
stands beside it. Ceilings are true renders that went through the tokenizer; `copy last` repeats the last given frame.
Look at the film strips too. With --processes, parts run side by side, each on one thread; with --only, the figures of
the other parts stay in --json's file as they are there.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import quality_figures as f
from benchmarks.report import ROOT, Figure, at_most, print_table, with_earlier, write
from worldstream.worlds.drift import load_gauge
from worldstream.worlds.judge import Judge, load_judge
from worldstream.worlds.machine import model_threads
from worldstream.worlds.procedural.attributes import THEMES
from worldstream.worlds.training import evaluate
from worldstream.worlds.training.adherence import adherence, contact_sheet
from worldstream.worlds.training.data import DataConfig, render_stills, render_walks, timed
from worldstream.worlds.training.evaluate import QUICK, Scope
from worldstream.worlds.training.judge import evaluate_judge
from worldstream.worlds.training.likeness import each_ssim
from worldstream.worlds.training.places import loop_closure
from worldstream.worlds.training.playing import Model
from worldstream.worlds.training.reveal import revealed
from worldstream.worlds.training.rollouts import rollouts
from worldstream.worlds.training.tokenizer import edge_ratio, psnr, stills, to_tensor
from worldstream.worlds.training.truth import without_memory
from worldstream.worlds.training.wander import Wander, drift, wander
from worldstream.worlds.weights import SHIPPED, WorldCard, find, load_modules, load_painter


@dataclass(frozen=True, slots=True)
class Extent:
    """How much to measure beyond `Scope`."""

    scope: Scope = Scope()
    stills: int = 192
    pairs: int = 768  # of the judge's own figures
    rollouts_each: int = 3  # worlds a theme
    lengths: tuple[int, ...] = (16, 64)
    loop_themes: tuple[int, ...] = tuple(range(len(THEMES)))
    loops_each: int = 2
    reveals_each: int = 8
    prompts_each: int = 8
    prompts_walked: int = 4
    prompt_frames: int = 100
    contact_frames: int = 160
    drift_frames: int = 3000
    drift_span: int = 500
    drift_shares: int = 4  # jobs that the drift's worlds are dealt to


FULL = Extent()
SHORT = Extent(
    QUICK, stills=48, pairs=192, rollouts_each=1, lengths=(4, 16), loop_themes=(0,), loops_each=1, reveals_each=1,
    prompts_each=1, prompts_walked=1, prompt_frames=8, contact_frames=1, drift_frames=60, drift_span=30, drift_shares=1,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Bench:
    """Everything that a part needs."""

    model: Model
    judge: Judge
    data: Path
    sheets: Path
    extent: Extent
    whole: bool  # the shipping step count in full: also measure the shorter step lists


def one_step(b: Bench) -> list[Figure]:
    return f.one_step_figures(evaluate.one_step(b.model, b.data, b.extent.scope.clips))


def commands(b: Bench) -> list[Figure]:
    figures = f.command_figures(evaluate.commands(b.model, b.judge, b.extent.scope))
    for steps in b.model.config.step_lists[1:] if b.whole else ():  # that the speed ladder may choose
        v = evaluate.commands(replace(b.model, steps=steps), b.judge, Scope(command_frames=16))
        figures.append(f.plain(f"action sign accuracy, mean, at {len(steps)} steps", v["mean"]))
    return figures


def walk300(b: Bench) -> list[Figure]:
    return f.walk_figures(evaluate.long_walk(b.model, b.judge, b.extent.scope, b.sheets / "walk300.png"))


def prompts(b: Bench) -> list[Figure]:
    e = b.extent
    alone = evaluate.prompts(b.model, b.judge, e.scope, b.sheets / "prompts.png")
    told = adherence(
        b.model, b.judge, e.scope.themes, e.prompts_each, min(e.prompts_walked, e.prompts_each), e.prompt_frames
    )
    return [*f.reading_figures(told), *(f.plain(f"prompt alone, {k}", v) for k, v in alone.items())]


def rolled(b: Bench) -> list[Figure]:
    e = b.extent
    return f.reading_figures(rollouts(b.model, b.judge, e.scope.themes, e.rollouts_each, e.lengths))


def places(b: Bench) -> list[Figure]:
    e = b.extent
    return f.reading_figures(loop_closure(b.model, e.loop_themes, e.loops_each, b.sheets / "loop.png"))


def reveal(b: Bench) -> list[Figure]:
    return f.reading_figures(revealed(b.model, b.judge, b.extent.scope.themes, b.extent.reveals_each))


def contact(b: Bench) -> list[Figure]:
    contact_sheet(b.model, b.sheets / "contact.png", frames=b.extent.contact_frames)
    return []


def wandered(share: int, b: Bench) -> Wander:
    """Every `drift_shares`-th theme, from `share` on."""
    e = b.extent
    return wander(b.model, b.judge, e.scope.themes[share :: e.drift_shares], e.drift_frames, e.drift_span)


@torch.no_grad()
def tools(b: Bench) -> list[Figure]:
    """Tokenizer and judge on true pictures."""
    full = to_tensor(stills(b.data)[0][: b.extent.stills])
    autoencoder = b.model.autoencoder
    drawn = torch.cat([autoencoder.decode(autoencoder.encode(F.avg_pool2d(x, 2))) for x in full.split(32)])
    ssim = float(torch.cat([each_ssim(x, y) for x, y in zip(drawn.split(32), full.split(32), strict=True)]).mean())
    tokenizer = {"psnr": float(psnr(drawn, full)), "ssim": ssim, "edges": edge_ratio(drawn, full)}
    return f.tokenizer_figures(tokenizer) + f.judge_figures(evaluate_judge(b.judge, b.data, b.extent.pairs))


# In the order of the table; the drift is dealt out and put together in `measured`.
PARTS: dict[str, Callable[[Bench], list[Figure]]] = {
    "commands": commands, "one-step": one_step, "rollouts": rolled, "places": places, "reveal": reveal,
    "prompts": prompts, "walk300": walk300, "contact": contact, "tools": tools,
}  # fmt: skip
DRIFT = "drift"


def set_up(world: str | None, steps: int | None, quick: bool, data: Path, sheets: Path) -> tuple[Bench, WorldCard]:
    """The world under test. Raises ValueError where it does not run at `steps`."""
    card = find(world)
    network, autoencoder = load_modules(card)
    lists = {len(s): s for s in card.config.step_lists}
    if steps is not None and steps not in lists:
        raise ValueError(f"world {card.name} runs at {sorted(lists)} steps, not {steps}")
    chosen = card.config.step_lists[0] if steps is None else lists[steps]
    gauge = load_gauge(SHIPPED, autoencoder) if card.config.drift.on else None
    model = Model(card.config, network, autoencoder, chosen, gauge, load_painter(card))
    extent = SHORT if quick else FULL
    return Bench(model, load_judge(SHIPPED), data, sheets, extent, not quick and steps is None), card


_bench: list[Bench] = []  # of this process


def _start(*arguments: Any) -> None:
    torch.set_num_threads(1)
    _bench.append(set_up(*arguments)[0])


def _run(job: Callable[[Bench], Any]) -> tuple[Any, float]:
    started = time.perf_counter()
    result = job(_bench[0])
    return result, time.perf_counter() - started


def measured(bench: Bench, chosen: list[str], processes: int, arguments: tuple[Any, ...]) -> list[Figure]:
    """All figures of the chosen parts, in the table's order."""
    jobs: dict[str, Callable[[Bench], Any]] = {}
    if DRIFT in chosen:  # the longest first, so that nobody waits for them at the end
        jobs |= {f"{DRIFT} {i}": partial(wandered, i) for i in range(bench.extent.drift_shares)}
    jobs |= {name: PARTS[name] for name in PARTS if name in chosen}
    done: dict[str, Any] = {}

    def keep(name: str, result: tuple[Any, float]) -> None:
        done[name] = result[0]
        print(f"{name}: {result[1]:.0f} s", flush=True)

    if processes == 1:
        _bench.append(bench)
        for name, job in jobs.items():
            keep(name, _run(job))
    else:
        os.environ["OMP_NUM_THREADS"] = os.environ["NUMBA_NUM_THREADS"] = "1"
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(processes, context, _start, arguments) as pool:
            waiting = {name: pool.submit(_run, job) for name, job in jobs.items()}
            for name, future in waiting.items():
                keep(name, future.result())
    figures = [figure for name in PARTS if name in chosen for figure in cast("list[Figure]", done[name])]
    if DRIFT in chosen:
        walks = [cast(Wander, done[name]) for name in done if name.startswith(f"{DRIFT} ")]
        figures += f.reading_figures(drift(walks, bench.sheets / "drift.png"))
    return figures


def megabytes(card: WorldCard) -> float:
    """Of this world's weights, its painter's and the judge's."""
    painter = {card.painter_weights} if card.config.painter is not None else set()
    return sum(p.stat().st_size for p in {card.weights, SHIPPED / "judge.safetensors"} | painter) / 1e6


def command_line() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--quick", action="store_true", help="fewer clips, shorter rollouts")
    parser.add_argument("--world", help="name of the world; the shipped one by default")
    parser.add_argument("--card", action="store_true", help="write the figures with a target into the world's card too")
    parser.add_argument("--steps", type=int, help="denoising steps; the number that ships by default")
    parser.add_argument("--processes", type=int, default=1, help="parts side by side, each on one thread")
    parser.add_argument("--only", nargs="+", choices=[*PARTS, DRIFT], help="these parts alone")
    parser.add_argument(
        "--data", type=Path, default=ROOT / "runs" / "quality", help="rendered test walks are kept here"
    )
    parser.add_argument("--sheets", type=Path, default=ROOT / "benchmarks" / "results", help="where the film strips go")
    return parser


def main() -> int:
    parser = command_line()
    given = parser.parse_args()
    if given.processes < 1:
        parser.error(f"--processes must be 1 or more, got {given.processes}")
    torch.set_num_threads(model_threads())
    sheets = given.data if given.quick else given.sheets
    try:
        arguments = (given.world, given.steps, given.quick, given.data, sheets)
        bench, card = set_up(*arguments)
    except ValueError as error:
        parser.error(str(error))
    size = card.config.width_px // 2, card.config.height_px // 2
    data = DataConfig(*size, test=True, stills=128 if given.quick else 512, episodes=32 if given.quick else 128)
    timed("test stills", render_stills(given.data, data), data.stills)
    timed("test walks", render_walks(given.data, data), data.episodes)
    if without_memory(bench.model) is None:
        print(f"world {card.name} has no memory: with and without are the same, and the gain is nothing")
    figures = measured(bench, given.only or [*PARTS, DRIFT], given.processes, arguments)
    figures.append(at_most("weights of world and judge", megabytes(card), "MB", f.MOST_MB))
    figures.append(f.plain("denoising steps", float(len(bench.model.steps))))
    print_table(figures)
    if not given.quick and not given.only and (absent := f.PROMISED - {figure.name for figure in figures}):
        raise SystemExit(f"promised and not measured: {sorted(absent)}")
    world = f"{card.name} {card.sha256[:12]}"  # the painter draws for `prompts` and `contact` alone
    if given.json:
        versions = {"world": world, **({"painter": card.painter_sha256[:12]} if card.config.painter else {})}
        write(given.json, with_earlier(given.json, figures, world) if given.only else figures, versions)
    if given.card:
        promised = {x.name: {"value": round(x.value, 4), "target": x.target, "met": x.met} for x in figures if x.target}
        earlier = card.facts.get("metrics", {}) if given.only else {}
        metrics = {"denoising steps": len(bench.model.steps), **earlier, **promised}
        replace(card, facts={**card.facts, "metrics": metrics}).write()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
