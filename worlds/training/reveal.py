"""What a turn of 90 degrees reveals: is it as sharp as the truth, and does it look like such places look?

Only crops that the first view did not show: the half of the picture on the side turned to, once the turn is past half
the field of view. Nothing says what must be there, so it is compared in kind: edge energy, and the Fréchet distance of
the judge's features to true crops of other worlds of the same theme, light and weather. Reconstructions of the truth of
the same places, equally many, are measured against the same reference: both distances carry the same bias of small
samples, and the true crops' own distance says how large it is. With a dozen crops that bias outweighs even a strong
blur; read this figure only at the full count.

And one figure of geometry: under a pure turn every picture is a known warp of the one before, whatever the depths, so
where two drawn frames overlap they must agree. For steps this needs the depth of the drawn world, which nobody knows:
it is not measured.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..judge import Judge
from ..procedural.attributes import THEMES
from ..procedural.paths import YAW
from ..procedural.renderer import camera_rows
from .likeness import Reading, Readings, frechet, principal, sharpness
from .playing import Model, walk_batch
from .truth import WalkBatch, decoded, rebuilt, true_walks, twins, walked, worlds_of

FRAMES, TURN_RAD = 30, math.radians(3.0)
MOMENTS = (5, 13, 21, 29)  # after 18, 42, 66 and 90 degrees
NEW = (1, 2, 3)  # the moments whose half on the side turned to is past the first view's edge, 39 degrees
STEP_RAD = 8 * TURN_RAD  # between two of them
FIRST_WORLD, FIRST_OTHER = 300_000, 310_000
COMPONENTS = 64  # of the judge's features that the Fréchet distance is taken in


def halves(pictures: Tensor, signs: Sequence[float]) -> Tensor:
    """The half on the side turned to (+1 right) of `[B, M, 3, H, W]`, as `[B * M, 3, H, W / 2]`."""
    middle = pictures.shape[-1] // 2
    parts = [p[..., middle:] if s > 0 else p[..., :middle] for p, s in zip(pictures, signs, strict=True)]
    return torch.cat(parts)


def features(judge: Judge, pictures: Tensor, width: int, height: int) -> Tensor:
    """The judge's features `[N, 128]` of crops, brought to its scale."""
    return torch.cat([judge.features(F.interpolate(p, (height, width), mode="area")) for p in pictures.split(64)])


def turned(pictures: Tensor, yaw_rad: float) -> tuple[Tensor, Tensor]:
    """Level pictures `[N, 3, H, W]` as seen after a turn (positive to the right), and `bool[H, W]`: what is known."""
    rows, columns = pictures.shape[-2:]
    tan_x, tan_y = camera_rows(rows, columns)
    u = ((2 * torch.arange(columns) + 1) / columns - 1) * tan_x
    v = ((2 * torch.arange(rows) + 1) / rows - 1) * tan_y
    ahead = math.cos(yaw_rad) - u * math.sin(yaw_rad)  # of the old camera
    x = (u * math.cos(yaw_rad) + math.sin(yaw_rad)) / ahead / tan_x
    y = v[:, None] / ahead / tan_y
    where = torch.stack([x.expand(rows, columns), y], -1)
    known = (ahead > 0) & (where.abs() <= torch.tensor([1 - 1 / columns, 1 - 1 / rows])).all(-1)
    grid = where.float().expand(len(pictures), -1, -1, -1)
    return F.grid_sample(pictures, grid, mode="bilinear", padding_mode="border", align_corners=False), known


def disagreement(pictures: Tensor, signs: Sequence[float], warp: bool = True) -> float:
    """Root mean square difference of each moment's picture and the one before, turned to it, where they overlap.

    `[B, M, 3, H, W]`, STEP_RAD apart. Without `warp`: of the unturned pictures, in the same pixels.
    """
    squares = []
    for row, sign in zip(pictures, signs, strict=True):
        moved, known = turned(row[:-1], sign * STEP_RAD)
        squares.append((((moved if warp else row[:-1]) - row[1:]).square().mean(1))[:, known].mean())
    return float(torch.stack(squares).mean().sqrt())


def distances(crowds: dict[str, Tensor], reference: Tensor) -> dict[str, float]:
    """Fréchet distances of equally large crowds to the reference, in shared principal components."""
    kept = principal([*crowds.values(), reference], COMPONENTS)
    return {name: frechet(crowd, kept[-1]) for name, crowd in zip(crowds, kept, strict=False)}


@torch.no_grad()
def revealed(
    model: Model,
    judge: Judge,
    themes: tuple[int, ...] = tuple(range(len(THEMES))),
    each: int = 8,
    walk: WalkBatch = walk_batch,
) -> Readings:
    """Turns of 90 degrees in `each` unseen worlds a theme, right and left by turns."""
    worlds = worlds_of(themes, each, FIRST_WORLD)
    signs = [1.0 if i % 2 == 0 else -1.0 for i in range(len(worlds))]
    paths = [np.zeros((FRAMES, 4), np.float32) for _ in worlds]
    for path, sign in zip(paths, signs, strict=True):
        path[:, YAW] = sign * TURN_RAD
    walks = true_walks(model, worlds, paths, FRAMES, MOMENTS)
    others = true_walks(model, twins(worlds, walks, FIRST_OTHER), paths, FRAMES, [MOMENTS[i] for i in NEW])
    truth = walks.at(MOMENTS)
    latents = walked(model, walks, 5, walk)[:, list(MOMENTS)]
    drawn, real = decoded(model, latents, 1), rebuilt(model, truth, 1)
    height, width = truth.shape[-2:]

    def read(pictures: Tensor) -> Tensor:
        return features(judge, halves(pictures, signs), 64, 80)

    reference = read(others.at(others.moments))
    new = list(NEW)
    crowds = {"drawn": read(drawn[:, new]), "rebuilt": read(real[:, new]), "true": read(truth[:, new])}
    still = walks.given[:, None].expand_as(truth)
    far = distances({**crowds, "copy": read(still[:, new])}, reference)
    wide = [halves(x, signs) for x in (drawn[:, new], real[:, new], rebuilt(model, still[:, new], 1))]
    each_ratio = [sharpness(a, b) for a, b in zip(wide[0].split(len(new)), wide[1].split(len(new)), strict=True)]
    small = [
        F.interpolate(x.flatten(0, 1), (height, width), mode="area").unflatten(0, x.shape[:2]) for x in (drawn, real)
    ]
    wrong = [disagreement(x, signs) for x in small]
    name = "90° turn, what it reveals"
    return {
        f"{name}: sharpness": Reading(sharpness(wide[0], wide[1]), "", 1.0, sharpness(wide[2], wide[1])),
        f"{name}: sharpness, median of the worlds": Reading(float(np.median(each_ratio)), "", 1.0),
        f"{name}: Fréchet distance, share of reconstructions'": Reading(
            far["drawn"] / far["rebuilt"], "", 1.0, far["copy"] / far["rebuilt"]
        ),
        f"{name}: Fréchet distance": Reading(far["drawn"], "", far["rebuilt"], far["copy"]),
        f"{name}: Fréchet distance of true crops of other worlds (bias of the sample)": Reading(far["true"]),
        f"{name}: crops on each side": Reading(float(len(reference))),
        "geometry of turns: disagreement of overlapping frames, share of the ceiling": Reading(
            wrong[0] / wrong[1], "", 1.0, disagreement(small[0], signs, warp=False) / wrong[1]
        ),
    }
