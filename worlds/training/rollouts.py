"""Free rollouts with the actions of unseen episodes: how far the picture is from the truth after 16 and 64 frames,
whether the motion follows every command, and whether stretches of 16 frames look like true ones.

A pixel was *seen* when an earlier true frame showed its surface (`procedural.visibility`), the history or any frame
since. The model was shown only the history: what came into view later it had to invent, and then keep. Pixels that the
*history* showed are reported as well.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..judge import GAP, Judge, judged_size
from ..procedural.attributes import THEMES
from ..procedural.paths import Path as Walk
from ..procedural.visibility import seen_before
from .likeness import Reading, Readings, each_psnr, each_ssim, frechet, mean_of, principal, sharpness
from .playing import Model, walk_batch
from .truth import TrueWalks, WalkBatch, decoded, rebuilt, true_walks, twins, walked, worlds_of

FIRST_WORLD, FIRST_OTHER = 400_000, 410_000
AVERAGED = 4  # frames up to each moment: one alone is noise
CLIP = 16  # frames of a clip
COMPONENTS = 64  # of the clips' features that their Fréchet distance is taken in
AXES = ("sideways", "ahead", "yaw", "pitch")


def masks(walks: TrueWalks, moments: Sequence[int], history_only: bool) -> Tensor:
    """`bool[B, M, H, W]`: what earlier true frames showed. Every frame must have been rendered."""
    given, out = walks.history.shape[1], []
    for e in walks.episodes:
        last = [given if history_only else given + m for m in moments]
        out.append(
            np.stack(
                [
                    seen_before(e.depth[given + m], e.cameras[given + m], e.depth[:k], e.cameras[:k])
                    for m, k in zip(moments, last, strict=True)
                ]
            )
        )
    return torch.from_numpy(np.stack(out))


def likeness_at(
    moment: int, drawn: Tensor, truth: Tensor, real: Tensor, given: Tensor, seen: dict[str, Tensor | None]
) -> Readings:
    """PSNR, SSIM and sharpness of pictures `[N, 3, H, W]` drawn, true, rebuilt, last given, by set of pixels."""
    found: Readings = {}
    for name, mask in seen.items():
        where = f"rollout of {moment}, {name}"
        psnrs = [mean_of(each_psnr(x, truth, mask)) for x in (drawn, real, given)]
        ssims = [mean_of(each_ssim(x, truth, mask)) for x in (drawn, real, given)]
        found[f"{where}: PSNR"] = Reading(psnrs[0], "dB", *psnrs[1:])
        found[f"{where}: SSIM"] = Reading(ssims[0], "", *ssims[1:])
        found[f"{where}: sharpness"] = Reading(sharpness(drawn, real, mask), "", 1.0, sharpness(given, real, mask))
        if mask is not None:
            found[f"{where}: share of the pixels"] = Reading(float(mask.float().mean()))
    return found


def correlations(judge: Judge, paths: Sequence[Walk], drawn: Tensor, real: Tensor) -> Readings:
    """Pearson's correlation of commanded and measured motion over GAP frames, by axis; `[B, T, 3, H, W]`."""
    frames = drawn.shape[1]
    starts = list(range(0, frames - GAP, GAP))
    told = np.concatenate([[p[-frames:][t + 1 : t + 1 + GAP].sum(0) for t in starts] for p in paths])
    rows = []
    for pictures in (drawn, real):
        small = judged_size(pictures.flatten(0, 1)).unflatten(0, pictures.shape[:2])
        before, after = small[:, starts].flatten(0, 1), small[:, [t + GAP for t in starts]].flatten(0, 1)
        moved = judge.moved(before, after).numpy()
        rows.append([pearson(told[:, a], moved[:, a]) for a in range(len(AXES))])
    return {
        f"correlation of commanded and measured motion, {axis}": Reading(rows[0][a], "", rows[1][a])
        for a, axis in enumerate(AXES)
    }


def pearson(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Correlation of two rows of numbers; 0 where one of them never changes."""
    x, y = a.astype(np.float64) - a.mean(), b.astype(np.float64) - b.mean()
    size = float(np.sqrt((x * x).sum() * (y * y).sum()))
    return float((x * y).sum()) / size if size > 0 else 0.0


def clip_features(judge: Judge, pictures: Tensor) -> Tensor:
    """`[B, T, 3, H, W]` to `[B * (T // CLIP), 256]`: the mean of the judge's features over each clip of 16 frames, and
    the mean size of their change from frame to frame."""
    frames = pictures.shape[1] // CLIP * CLIP
    small = [judged_size(p) for p in pictures[:, :frames].flatten(0, 1).split(64)]
    told = torch.cat([judge.features(p) for p in small]).view(-1, CLIP, 128)
    return torch.cat([told.mean(1), (told[:, 1:] - told[:, :-1]).abs().mean(1)], 1)


def clip_distance(judge: Judge, drawn: Tensor, real: Tensor, truth: Tensor, others: Tensor) -> Readings:
    """Fréchet distance of clips to true clips of other worlds, as a share of that of true clips (real against real).

    `others` `[B, T, 3, H, W]` are as many true walks in worlds of the same theme, light and weather."""
    crowds = principal([clip_features(judge, x) for x in (drawn, real, truth, others)], COMPONENTS)
    far = [frechet(x, crowds[-1]) for x in crowds[:-1]]
    return {
        "clips of 16 frames: Fréchet distance, share of true clips'": Reading(far[0] / far[2], "", far[1] / far[2]),
        "clips of 16 frames: Fréchet distance": Reading(far[0], "", far[1]),
        "clips of 16 frames: Fréchet distance of true clips (bias of the sample)": Reading(far[2]),
        "clips of 16 frames: clips": Reading(float(len(crowds[0]))),
    }


@torch.no_grad()
def rollouts(
    model: Model,
    judge: Judge,
    themes: tuple[int, ...] = tuple(range(len(THEMES))),
    each: int = 3,
    lengths: tuple[int, ...] = (16, 64),
    walk: WalkBatch = walk_batch,
) -> Readings:
    """`each` unseen worlds a theme, each walked as its own seed draws it."""
    frames = max(lengths)
    worlds = worlds_of(themes, each, FIRST_WORLD)
    walks = true_walks(model, worlds, None, frames, range(frames))
    drawn = decoded(model, walked(model, walks, 6, walk))
    truth = walks.at(range(frames))
    real = rebuilt(model, truth)
    found: Readings = {}
    for length in lengths:
        moments = list(range(max(0, length - AVERAGED), length))
        seen = {
            "seen": masks(walks, moments, history_only=False).flatten(0, 1),
            "seen in the history": masks(walks, moments, history_only=True).flatten(0, 1),
            "whole frame": None,
        }
        given = walks.given[:, None].expand(-1, len(moments), -1, -1, -1).flatten(0, 1)
        parts = [x[:, moments].flatten(0, 1) for x in (drawn, truth, real)]
        found |= likeness_at(length, parts[0], parts[1], parts[2], given, seen)
    found |= correlations(judge, [e.path for e in walks.episodes], drawn, real)
    others = true_walks(model, twins(worlds, walks, FIRST_OTHER), None, frames, range(frames))
    return found | clip_distance(judge, drawn, real, truth, others.at(range(frames)))
