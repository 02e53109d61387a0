"""The judge's training: renders only, worn by the blur and noise that generated pictures have, so it reads both."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..judge import GAP, SCALES, Judge, flow_cells, judged_size
from .data import Walks
from .loop import Loop, LoopConfig, Metrics
from .tokenizer import to_tensor


@dataclass(frozen=True, slots=True)
class JudgeConfig:
    """Everything a process needs to train the judge."""

    data: Path
    test: Path
    loop: LoopConfig
    batch: int = 16
    start_from: Path | None = None  # a judge to go on from
    motion_pairs: int = 8000  # that the regression from flow to motion is fitted on


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pictures GAP frames apart, with the motion between them and the attributes of the first."""

    before: Tensor  # [N, 3, 80, 128]
    after: Tensor
    motion: Tensor  # [N, 4] metres, radians
    attributes: Tensor  # [N, 4] indices, -1 while the light changes


def draw_pairs(walks: Walks, count: int, rng: np.random.Generator) -> Pairs:
    """Random pairs from walks; the motion adds up the steps in between."""
    size = len(walks.rgb[0])
    before, after, motion, attributes = [], [], [], []
    for _ in range(count):
        e = int(rng.integers(len(walks.meta)))
        frames = walks.rgb[e // size][e % size]
        at = int(rng.integers(0, len(frames) - GAP))
        before.append(frames[at])
        after.append(frames[at + GAP])
        motion.append(walks.paths[e, at + 1 : at + GAP + 1].sum(0))
        attributes.append(attributes_at(walks.meta[e], at))
    pictures = judged_size(to_tensor(np.stack(before))), judged_size(to_tensor(np.stack(after)))
    return Pairs(*pictures, torch.from_numpy(np.stack(motion)), torch.tensor(attributes))


def attributes_at(meta: dict[str, object], frame: int) -> list[int]:
    """(theme, time, weather, mood) that hold at a frame; -1 for what is just changing."""
    first, second = cast("tuple[dict[str, int], dict[str, int]]", meta["attributes"])
    names = ("theme", "time", "weather", "mood")
    change = cast(int, meta["change_at"])
    if frame < change:
        return [first[n] for n in names]
    if frame >= change + 44:
        return [second[n] for n in names]
    return [first["theme"], -1, -1, -1]


def worn(pictures: Tensor, rng: np.random.Generator) -> Tensor:
    """Some of the blur and noise of a generated picture."""
    if rng.random() < 0.5:
        small = F.interpolate(pictures, scale_factor=float(rng.uniform(0.4, 0.95)), mode="area")
        pictures = F.interpolate(small, pictures.shape[2:], mode="bilinear")
    if rng.random() < 0.5:
        pictures = pictures + float(rng.uniform(0, 0.05)) * torch.randn(pictures.shape)
    return pictures


def fit_motion(model: Judge, walks: Walks, count: int, epochs: int = 60) -> None:
    """Fit the regression from optical flow to motion; half of the pairs are worn, as generated pictures are."""
    rng = np.random.default_rng(17)
    flows, motions = [], []
    for i in range(max(1, count // 250)):
        pairs = draw_pairs(walks, min(count, 250), rng)
        both = torch.cat([pairs.before, pairs.after])
        before, after = (worn(both, rng) if i % 2 else both).chunk(2)
        flows.append(flow_cells(before, after))
        motions.append(pairs.motion / (GAP * SCALES))
    x, y = torch.cat(flows), torch.cat(motions)
    optimiser = torch.optim.AdamW(model.motion.parameters(), 3e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(128):
            loss = F.smooth_l1_loss(model.motion(x[rows]), y[rows], beta=0.3)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        schedule.step()


def train_judge(rank: int, world: int, config: JudgeConfig) -> None:
    """One process of the judge's training."""
    torch.manual_seed(3)
    model = Judge()
    walks = Walks.open(config.data)
    if config.start_from is None:
        fit_motion(model, walks, config.motion_pairs)
    else:
        model.load_state_dict(torch.load(config.start_from, weights_only=True)["ema"])
    model.motion.requires_grad_(False)
    loop = Loop(config.loop, model, rank, world)
    loop.resume()
    rng = np.random.default_rng(rank + 1000 * loop.step)

    def loss_of() -> tuple[Tensor, Metrics]:
        pairs = draw_pairs(walks, config.batch, rng)
        loss = torch.zeros(())
        for logits, truth in zip(model.read(worn(pairs.before, rng)), pairs.attributes.T, strict=True):
            if bool((truth >= 0).any()):
                loss = loss + F.cross_entropy(logits, truth, ignore_index=-1)
        return loss, {}

    loop.run(loss_of)
    if rank == 0:
        final = Judge()
        final.load_state_dict(loop.averaged())
        print("judge, unseen worlds:", evaluate_judge(final.eval(), config.test))


@torch.no_grad()
def evaluate_judge(model: Judge, test: Path, count: int = 768) -> Metrics:
    """Accuracies on unseen worlds: attributes, and the sign of each motion that is clearly there."""
    pairs = draw_pairs(Walks.open(test), count, np.random.default_rng(5))
    out: Metrics = {}
    for name, logits, truth in zip(
        ("theme", "time", "weather", "mood"), model.read(pairs.before), pairs.attributes.T, strict=True
    ):
        known = truth >= 0
        out[name] = float((logits.argmax(-1) == truth)[known].float().mean())
    moved = model.moved(pairs.before, pairs.after)
    for i, name in enumerate(("right", "forward", "yaw", "pitch")):
        clear = pairs.motion[:, i].abs() > 0.5 * GAP * SCALES[i]
        out[f"sign_{name}"] = float((moved[:, i].sign() == pairs.motion[:, i].sign())[clear].float().mean())
        a, b = pairs.motion[clear, i], moved[clear, i]
        out[f"slope_{name}"] = float((a * b).sum() / (a * a).sum())
    return out
