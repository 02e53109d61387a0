"""How good the drawn world is, on seeds that no training saw.

    python benchmarks/quality.py [--quick] [--json FILE] [--world NAME] [--steps N] [--sheets DIR]

One-step PSNR against the render and against copying the last frame; whether free rollouts obey each key; sharpness,
colour and theme over 300 frames of a commanded walk with 90 degree turns; themes from prompts alone as the judge
network reads them. PSNR rewards blur: read it together with the sharpness, and look at the film strips. Ceilings are
true renders that went through the tokenizer.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.report import ROOT, Figure, at_least, print_table, write
from worldstream.worlds.engines import model_threads
from worldstream.worlds.judge import Judge, load_judge
from worldstream.worlds.training.data import DataConfig, render_stills, render_walks, timed
from worldstream.worlds.training.evaluate import COMMANDS, QUICK, Scope, commands, evaluate_model
from worldstream.worlds.training.judge import evaluate_judge
from worldstream.worlds.training.playing import Model
from worldstream.worlds.training.tokenizer import evaluate as evaluate_tokenizer
from worldstream.worlds.weights import SHIPPED, find, load_modules

Values = dict[str, float]


def plain(name: str, value: float, unit: str = "") -> Figure:
    """A figure that promises nothing."""
    return Figure(name, value, unit, None, None)


def one_step_figures(v: Values) -> list[Figure]:
    """The next frame from true context, in dB."""
    return [
        at_least("one-step PSNR over copying the last frame, turning", v["model turn"] - v["copy turn"], "dB", 5.0),
        at_least("one-step PSNR over copying the last frame, walking", v["model walk"] - v["copy walk"], "dB", 0.5),
        *(plain(f"one-step PSNR, {key}", v[key], "dB") for key in sorted(v)),
    ]


def command_figures(v: Values) -> list[Figure]:
    """Whether the world moves as told."""
    figures = [at_least("action sign accuracy, mean", v["mean"], "", 0.95)]
    for name in COMMANDS:
        figures.append(at_least(f"action sign accuracy, {name}", v[name], "", 0.90))
        figures.append(plain(f"  ceiling, {name}", v[f"{name} ceiling"]))
        figures.append(
            plain(f"  slope of motion over its ceiling, {name}", v[f"{name} slope"] / v[f"{name} slope ceiling"])
        )
    return [*figures, plain("action sign accuracy, ceiling of the mean", v["mean ceiling"])]


def walk_figures(v: Values) -> list[Figure]:
    """300 frames of a commanded walk."""
    figures = []
    if "sharpness 50-300" in v:  # the quick form walks less far
        name = "sharpness over frames 50-300, share of reconstructed truth"
        figures.append(at_least(name, v["sharpness 50-300"], "", 0.7))
    names = [k for k in v if k not in ("sharpness 50-300",)]
    return figures + [plain(f"300-frame walk, {k}", v[k]) for k in names]


def figures_of(measured: dict[str, Values], tokenizer: Values, judged: Values) -> list[Figure]:
    """The table, most important first."""
    prompts = measured["prompts"]
    return [
        *command_figures(measured["commands"]),
        *walk_figures(measured["long_walk"]),
        *one_step_figures(measured["one_step"]),
        *(plain(f"prompt alone, {k}", v) for k, v in prompts.items()),
        plain("tokenizer PSNR", tokenizer["test_psnr"], "dB"),
        plain("tokenizer sharpness, share of the render", tokenizer["test_edges"]),
        *(plain(f"judge on true renders, {k}", v) for k, v in judged.items()),
    ]


def other_step_lists(model: Model, judge: Judge) -> list[Figure]:
    """The controls at the shorter step lists that the speed ladder may choose."""
    found = []
    for steps in model.config.step_lists[1:]:
        v = commands(replace(model, steps=steps), judge, Scope(command_frames=16))
        found.append(plain(f"action sign accuracy, mean, at {len(steps)} steps", v["mean"]))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--quick", action="store_true", help="fewer clips, shorter rollouts")
    parser.add_argument("--world", help="name of the world; the shipped one by default")
    parser.add_argument("--card", action="store_true", help="write the figures with a target into the world's card too")
    parser.add_argument("--steps", type=int, help="denoising steps; the number that ships by default")
    parser.add_argument(
        "--data", type=Path, default=ROOT / "runs" / "quality", help="rendered test walks are kept here"
    )
    parser.add_argument("--sheets", type=Path, default=ROOT / "benchmarks" / "results", help="where the film strips go")
    arguments = parser.parse_args()
    torch.set_num_threads(model_threads())
    data = (
        DataConfig(test=True, stills=128, episodes=32)
        if arguments.quick
        else DataConfig(test=True, stills=512, episodes=128)
    )
    timed("test stills", render_stills(arguments.data, data), data.stills)
    timed("test walks", render_walks(arguments.data, data), data.episodes)
    card = find(arguments.world)
    network, autoencoder = load_modules(card)
    lists = {len(s): s for s in card.config.step_lists}
    if arguments.steps is not None and arguments.steps not in lists:
        parser.error(f"world {card.name} runs at {sorted(lists)} steps, not {arguments.steps}")
    steps = card.config.step_lists[0] if arguments.steps is None else lists[arguments.steps]
    model, judge = Model(card.config, network, autoencoder, steps), load_judge(SHIPPED)
    sheets = arguments.sheets if not arguments.quick else arguments.data
    scope = QUICK if arguments.quick else Scope()
    measured = evaluate_model(model, judge, arguments.data, sheets, scope)
    tokenizer = evaluate_tokenizer(autoencoder, arguments.data, count=48 if arguments.quick else 192)
    judged = evaluate_judge(judge, arguments.data, 192 if arguments.quick else 768)
    figures = figures_of(measured, tokenizer, judged)
    figures += [] if arguments.quick or arguments.steps else other_step_lists(model, judge)
    figures.append(plain("denoising steps", float(len(steps))))
    print_table(figures)
    if arguments.json:
        write(arguments.json, figures, {"world": f"{card.name} {card.sha256[:12]}"})
    if arguments.card:
        promised = {f.name: {"value": round(f.value, 4), "target": f.target, "met": f.met} for f in figures if f.target}
        replace(card, facts={**card.facts, "metrics": {"denoising steps": len(steps), **promised}}).write()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
