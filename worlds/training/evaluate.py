"""Measures of a trained world, on seeds that no training saw.

Every figure has its ceiling beside it: the same measure on true renders that went through the tokenizer.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..autoencoder import Autoencoder
from ..conditioning import path_vectors
from ..judge import GAP, Judge, judged_size
from ..network import WorldNetwork
from ..procedural.attributes import THEMES
from ..procedural.episodes import TEST_SEED, Episode, episode
from ..procedural.paths import FORWARD, PITCH, RIGHT, YAW, limited
from ..procedural.paths import Path as Walk
from .data import Walks
from .likeness import each_psnr, like, sharpness
from .playing import Model, captions, walk_batch
from .sheets import write_sheet
from .tokenizer import edge_ratio, to_tensor

COMMANDS: dict[str, tuple[int, float]] = {
    "forward": (FORWARD, 0.32), "back": (FORWARD, -0.32), "left": (RIGHT, -0.32), "right": (RIGHT, 0.32),
    "turn": (YAW, math.radians(3.5)), "pitch": (PITCH, math.radians(1.2)),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class NextFrames:
    """Single next frames of unseen walks, and the true context that they follow."""

    latents: Tensor  # [N, K + 1, C, h, w]
    actions: Tensor  # [N, 1, A]
    words: Tensor
    truth: Tensor  # [N, 3, H, W] at the encoder's size
    copy: Tensor  # the frame before


def next_frames(model: Model, test: Path, count: int, seed: int) -> NextFrames:
    """Random moments of the test walks."""
    walks, rng = Walks.open(test), np.random.default_rng(seed)
    depth, size = model.config.network.stack, len(walks.rgb[0])
    clips, paths, texts = [], [], []
    for _ in range(count):
        e = int(rng.integers(len(walks.meta)))
        at = int(rng.integers(depth, walks.rgb[0].shape[1]))
        clips.append(walks.rgb[e // size][e % size, at - depth : at + 1])
        paths.append(path_vectors(torch.from_numpy(walks.paths[e]))[at : at + 1])
        texts.append(str(walks.meta[e]["captions"][int(at >= int(walks.meta[e]["change_at"]))]))  # type: ignore[index, call-overload]
    frames = np.stack(clips)
    latents = torch.stack([model.encode(clip) for clip in frames])
    truth, copy = to_tensor(frames[:, -1]), to_tensor(frames[:, -2])
    return NextFrames(latents, torch.stack(paths), captions(model, texts), truth, copy)


@torch.no_grad()
def one_step(model: Model, test: Path, count: int = 240, seed: int = 0) -> dict[str, float]:
    """PSNR (dB) of the next frame from true context: model, copy of the last, tokenizer ceiling; by kind of motion.

    Beside it the sharpness as a share of the reconstructed truth's, and the sensitivity: how many times the error in
    latents grows when every frame is given another one's action.
    """
    n = next_frames(model, test, count, seed)
    before, actions = n.latents[:, :-1], n.actions
    drawn = walk_batch(model, before, actions, n.words, torch.Generator().manual_seed(seed))[:, 0]
    others = actions[torch.randperm(count, generator=torch.Generator().manual_seed(seed + 1))]
    misled = walk_batch(model, before, others, n.words, torch.Generator().manual_seed(seed))[:, 0]
    losses = [(x - n.latents[:, -1]).square().mean((1, 2, 3)) for x in (drawn, misled)]
    picture, real = (like(model.decode(x), n.truth) for x in (drawn, n.latents[:, -1]))
    scores = {
        "model": each_psnr(picture, n.truth),
        "copy": each_psnr(n.copy, n.truth),
        "ceiling": each_psnr(real, n.truth),
    }
    yaw, forward = actions[:, 0, 3].abs(), actions[:, 0, [0, 2]].norm(dim=-1)
    groups = {"all": yaw > -1, "turn": yaw > 0.66, "walk": (yaw < 0.1) & (forward > 0.5)}
    out = {f"{name} {group}": float(v[keep].mean()) for name, v in scores.items() for group, keep in groups.items()}
    for group, keep in groups.items():
        out[f"sharpness {group}"] = sharpness(picture[keep], real[keep])
        out[f"copy sharpness {group}"] = sharpness(n.copy[keep], real[keep])
    return out | {"sensitivity": float(losses[1].mean() / losses[0].mean())}


@dataclass(frozen=True, slots=True)
class Scope:
    """How much to measure."""

    clips: int = 240  # of the one-step figures
    command_frames: int = 32
    walk_frames: int = 300
    prompt_frames: int = 100
    prompt_repeats: int = 2
    themes: tuple[int, ...] = tuple(range(len(THEMES)))


QUICK = Scope(48, 10, 60, 16, 1, tuple(range(0, len(THEMES), 4)))


@dataclass(frozen=True, slots=True)
class Scripted:
    """A scripted walk through unseen worlds, one for each theme: the truth and what the model starts from."""

    episodes: list[Episode]
    actions: Tensor  # [B, T, A]
    history: Tensor  # [B, K, C, h, w]
    words: Tensor

    @property
    def truth(self) -> Tensor:
        """`[B, T, 3, h, w]` in [0, 1], without the history."""
        return torch.stack([to_tensor(e.rgb) for e in self.episodes])[:, -self.actions.shape[1] :]


def scripted(model: Model, path: Walk, seed: int, themes: tuple[int, ...]) -> Scripted:
    """The true walk along `path` (after standing still for the history), rendered in one unseen world a theme."""
    depth = model.config.network.stack
    still = np.zeros((depth, 4), np.float32)
    whole = limited(np.concatenate([still, path]).astype(np.float32))
    c = model.config
    size = (c.width_px // 2, c.height_px // 2)
    made = [
        episode(TEST_SEED + 50_000 + 100 * seed + theme, 24, *size, theme=theme, path=whole, changes=False)
        for theme in themes
    ]
    actions = path_vectors(torch.from_numpy(whole))[depth:].expand(len(made), -1, -1)
    history = torch.stack([model.encode(e.rgb[:depth]) for e in made])
    return Scripted(made, actions, history, captions(model, [e.captions[0] for e in made]))


@torch.no_grad()
def commands(model: Model, judge: Judge, scope: Scope) -> dict[str, float]:
    """Share of frame pairs in free rollouts that move with the commanded sign, and the slope; ceilings beside."""
    out: dict[str, float] = {}
    for name, (axis, amount) in COMMANDS.items():
        rows = []
        for sign in (1.0, -1.0) if name in ("turn", "pitch") else (1.0,):
            # the neck ends at 22 degrees
            path = np.zeros((min(14, scope.command_frames) if name == "pitch" else scope.command_frames, 4), np.float32)
            path[:, axis] = amount * sign
            rows.append(obeyed(model, judge, path, axis, 11 * list(COMMANDS).index(name), scope.themes))
        right, slope, right_ceiling, slope_ceiling = np.mean(rows, 0).tolist()
        out |= {name: right, f"{name} ceiling": right_ceiling}
        out |= {f"{name} slope": slope, f"{name} slope ceiling": slope_ceiling}
    out["mean"] = float(np.mean([out[name] for name in COMMANDS]))
    out["mean ceiling"] = float(np.mean([out[f"{name} ceiling"] for name in COMMANDS]))
    return out


def obeyed(
    model: Model, judge: Judge, path: Walk, axis: int, seed: int, themes: tuple[int, ...]
) -> tuple[float, float, float, float]:
    """(share of frame pairs with the sign of the one command in `path`, motion over command; both for the truth)."""
    walk, amount = scripted(model, path, seed, themes), float(path[0, axis])
    drawn = walk_batch(model, walk.history, walk.actions, walk.words, torch.Generator().manual_seed(0))
    truth = torch.stack([model.encode(e.rgb[-len(path) :]) for e in walk.episodes])
    found: list[float] = []
    for latents in (drawn, truth):
        pictures = judged_size(model.decode(latents.flatten(0, 1))).unflatten(0, latents.shape[:2])
        moved = judge.moved(pictures[:, :-GAP].flatten(0, 1), pictures[:, GAP:].flatten(0, 1))[:, axis]
        found += [float((moved.sign() == math.copysign(1, amount)).float().mean()), float(moved.mean()) / GAP / amount]
    return found[0], found[1], found[2], found[3]


def long_path() -> Walk:
    """300 frames: forward, turn left 90 degrees, strafe, turn right, idle, and combinations."""
    turn = math.radians(3.0)
    rows: list[tuple[int, tuple[float, float, float, float]]] = [
        (40, (0, 0.32, 0, 0)), (30, (0, 0, -turn, 0)), (30, (0.3, 0, 0, 0)), (30, (0, 0, turn, 0)), (20, (0, 0, 0, 0)),
        (40, (0, 0.3, turn / 3, 0)), (30, (0, -0.3, 0, 0)), (30, (-0.3, 0, 0, 0)), (50, (0, 0.32, -turn / 3, 0)),
    ]  # fmt: skip
    return np.concatenate([np.tile(np.array(row, np.float32), (n, 1)) for n, row in rows])


@torch.no_grad()
def long_walk(model: Model, judge: Judge, scope: Scope, sheet: Path | None = None, seed: int = 3) -> dict[str, float]:
    """300 commanded frames in one unseen world a theme, against the reconstructed true walk, per stretch.

    Sharpness, colour, share of the frames whose theme the judge still recognises, share of frozen frames.
    """
    path = long_path()[: scope.walk_frames]
    walk = scripted(model, path, seed, scope.themes)
    drawn = walk_batch(model, walk.history, walk.actions, walk.words, torch.Generator().manual_seed(seed))
    out: dict[str, float] = {}
    rows: list[Tensor] = []
    edges = (0, 16, 50, 100, 150, 200, 250, 300)
    spans = [(a, b) for a, b in (*pairwise(edges), (50, 300)) if b <= len(path)]
    pictures, truths = [], []
    for b, e in enumerate(walk.episodes):
        pictures.append(model.decode(drawn[b]))
        truths.append(model.decode(model.encode(e.rgb[-len(path) :])))
        moments = [m for m in (0, 15, 35, 65, 95, 125, 150, 185, 230, 299) if m < len(path)]
        full = F.interpolate(to_tensor(e.rgb[-len(path) :][moments]), pictures[-1].shape[-2:])
        rows += [full, pictures[-1][moments]]
    for start, stop in spans:
        part = [p[start:stop] for p in pictures]
        real = [p[start:stop] for p in truths]
        key = f"{start}-{stop}"
        out[f"sharpness {key}"] = float(np.mean([edge_ratio(a, b) for a, b in zip(part, real, strict=True)]))
        out[f"colour {key}"] = float(
            np.mean(
                [float((a.mean((0, 2, 3)) - b.mean((0, 2, 3))).abs().mean()) for a, b in zip(part, real, strict=True)]
            )
        )
        small = judged_size(torch.cat(part))
        themes = judge.read(small)[0].argmax(-1).view(len(part), -1)
        out[f"theme {key}"] = float((themes == torch.tensor(scope.themes)[:, None]).float().mean())
    moving = torch.from_numpy(np.abs(path).sum(1) > 0)[1:]
    changed = torch.stack([(p[1:] - p[:-1]).abs().mean((1, 2, 3)) for p in pictures])[:, moving]
    out["frozen"] = float((changed < 1.5e-3).float().mean())
    if sheet is not None:
        write_sheet(sheet, [F.interpolate(r, scale_factor=0.5, mode="area") for r in rows])
    return out


@torch.no_grad()
def prompts(model: Model, judge: Judge, scope: Scope, sheet: Path | None = None) -> dict[str, float]:
    """Worlds from a prompt alone: share of the themes that the judge recognises in the first frame and after a walk."""
    frames, repeats = scope.prompt_frames, scope.prompt_repeats
    texts = [theme for theme in THEMES for _ in range(repeats)]
    path = np.zeros((frames, 4), np.float32)
    path[:, FORWARD], path[40:70, YAW] = 0.3, math.radians(3)
    actions = path_vectors(torch.from_numpy(path)).expand(len(texts), -1, -1)
    drawn = walk_batch(model, None, actions, captions(model, texts), torch.Generator().manual_seed(9))
    truth = torch.arange(len(THEMES)).repeat_interleave(repeats)
    out = {}
    moments = [0, frames // 8, frames // 4, frames // 2, 3 * frames // 4, frames - 1]
    for moment in (0, frames - 1):
        theme = judge.read(judged_size(model.decode(drawn[:, moment])))[0].argmax(-1)
        out[f"theme at {moment}"] = float((theme == truth).float().mean())
    if sheet is not None:
        write_sheet(
            sheet,
            [
                F.interpolate(model.decode(drawn[i, moments]), scale_factor=0.5, mode="area")
                for i in range(0, len(texts), repeats)
            ],
        )
    return out


def evaluate_model(model: Model, judge: Judge, test: Path, sheets: Path, scope: Scope) -> dict[str, dict[str, float]]:
    """Everything above."""
    return {
        "one_step": one_step(model, test, scope.clips),
        "commands": commands(model, judge, scope),
        "long_walk": long_walk(model, judge, scope, sheets / "walk300.png"),
        "prompts": prompts(model, judge, scope, sheets / "prompts.png"),
    }


def evaluate_world(runs: Path, preset: str, out: Path | None = None) -> None:
    """`worldstream train evaluate`: measure the current candidate, print and keep the figures."""
    from .export import averaged, candidate

    config, weights, source = candidate(runs, preset)
    network, autoencoder, judge = WorldNetwork(config.network), Autoencoder(config.autoencoder), Judge()
    network.load_state_dict(weights)
    decoder = runs / "decoder.pt"
    autoencoder.load_state_dict(averaged(decoder if decoder.exists() else runs / "tokenizer.pt"))
    judge.load_state_dict(averaged(runs / "judge.pt"))
    for module in (network, autoencoder, judge):
        module.eval().requires_grad_(False)
    model = Model(config, network, autoencoder, config.step_lists[0])
    figures = evaluate_model(model, judge, runs / "test", runs, Scope())
    (out or runs / "evaluation.json").write_text(
        json.dumps({"from": source, "steps": len(model.steps), **figures}, indent=1)
    )
    for group, values in figures.items():
        print(group, {k: round(v, 3) for k, v in values.items()})
