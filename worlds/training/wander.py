"""Thousands of frames of scripted wandering: does the world keep its colours, its sharpness, its theme and its motion?

The script is the 300-frame walk of `evaluate.long_path`, mirrored every other time. The model leaves the true place
within the first turn, so it is compared with the palette and the detail of the whole true walk, and the true walk's own
stretches are held against the same numbers: as far as places differ, so do they.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..judge import Judge, judged_size
from ..procedural.attributes import THEMES
from ..procedural.paths import Path as Walk
from .evaluate import long_path
from .likeness import Reading, Readings, edge_energy, frechet
from .playing import Model, walk_batch
from .sheets import write_labelled
from .tokenizer import to_tensor
from .truth import WalkBatch, decoded, rebuilt, true_walks, walked, worlds_of

FIRST_WORLD = 500_000
EVERY = 10  # frames between those that are looked at; each with its successor, to see whether it moves
FROZEN = 1.5e-3  # mean absolute difference of frames below which nothing moved


def wandering(frames: int) -> Walk:
    """The script, `float32[frames, 4]`: long_path and its mirror image by turns."""
    there = long_path()
    back = there * np.array([-1, 1, -1, 1], np.float32)
    laps = [there if i % 2 == 0 else back for i in range(-(-frames // len(there)))]
    return np.concatenate(laps)[:frames]


@dataclass(frozen=True, slots=True)
class Look:
    """What is kept of N frames of each of B walks."""

    colour: Tensor  # [B, N, 3] mean of each channel
    edges: Tensor  # [B, N] edge energy
    theme: Tensor  # bool[B, N] whether the judge recognises it
    features: Tensor  # [B, N, 128] of the judge

    @classmethod
    def at(cls, judge: Judge, pictures: Tensor, themes: Sequence[int]) -> Look:
        """Of pictures `[B, N, 3, H, W]`."""
        b, n = pictures.shape[:2]
        flat = pictures.flatten(0, 1)
        small = [judged_size(p) for p in flat.split(64)]
        known = torch.cat([judge.read(p)[0].argmax(-1) for p in small]).view(b, n) == torch.tensor(themes)[:, None]
        told = torch.cat([judge.features(p) for p in small]).view(b, n, -1)
        return cls(flat.mean((2, 3)).view(b, n, 3), edge_energy(flat).view(b, n), known, told)

    @staticmethod
    def joined(looks: Sequence[Look]) -> Look:
        """Of more worlds."""
        names = ("colour", "edges", "theme", "features")
        return Look(*(torch.cat([getattr(look, name) for look in looks]) for name in names))


@dataclass(frozen=True, slots=True)
class Wander:
    """Some worlds' walks, as drawn and as true."""

    drawn: Look
    truth: Look  # rebuilt
    frozen: Tensor  # bool[B, N]: told to move, and nothing did
    moving: Tensor  # bool[N]: whether the script moves there
    strip: Tensor  # [B, M, 3, h, w]: drawn pictures at `strip_moments`
    themes: tuple[int, ...]
    frames: int
    span: int


def strip_moments(frames: int, span: int) -> list[int]:
    """The first frame and the last of each span."""
    return [0, *range(span - 1, frames, span)]


@torch.no_grad()
def wander(
    model: Model, judge: Judge, themes: tuple[int, ...], frames: int, span: int, walk: WalkBatch = walk_batch
) -> Wander:
    """Walk one unseen world a theme. Raises ValueError where the spans do not divide the walk."""
    if frames % span or span % EVERY:
        raise ValueError(f"{frames} frames must be whole spans of {span}, and those whole steps of {EVERY}")
    path = wandering(frames)
    looked = list(range(0, frames, EVERY))
    worlds = [w for t in themes for w in worlds_of([t], 1, FIRST_WORLD + t)]
    walks = true_walks(model, worlds, [path] * len(worlds), frames, looked)
    latents = walked(model, walks, 7, walk)
    looks, stills, strips, truths = [], [], [], []
    for b, theme in enumerate(themes):
        row = latents[b : b + 1]
        pictures = decoded(model, row[:, looked], 1)
        later = decoded(model, row[:, [m + 1 for m in looked]], 1)
        looks.append(Look.at(judge, pictures, [theme]))
        stills.append((later - pictures).abs().mean((2, 3, 4)) < FROZEN)
        strips.append(F.avg_pool2d(decoded(model, row[:, strip_moments(frames, span)], 1)[0], 2))
        true = to_tensor(walks.episodes[b].rgb[walks.history.shape[1] :])[None]
        truths.append(Look.at(judge, rebuilt(model, true, 1), [theme]))
    moving = torch.from_numpy(np.abs(path[[m + 1 for m in looked]]).sum(1) > 0)
    still, strip = torch.cat(stills) & moving, torch.stack(strips)
    return Wander(Look.joined(looks), Look.joined(truths), still, moving, strip, themes, frames, span)


def joined(parts: Sequence[Wander]) -> Wander:
    """The same walk in more worlds."""
    first = parts[0]
    return Wander(
        Look.joined([p.drawn for p in parts]),
        Look.joined([p.truth for p in parts]),
        torch.cat([p.frozen for p in parts]),
        first.moving,
        torch.cat([p.strip for p in parts]),
        tuple(t for p in parts for t in p.themes),
        first.frames,
        first.span,
    )


def shifts(look: Look, truth: Look, per: int) -> list[float]:
    """How far the mean colour of each span of `per` looks is from that of the whole true walk, mean over worlds."""
    palette = truth.colour.mean(1)
    return [float((part.mean(1) - palette).abs().mean()) for part in look.colour.split(per, 1)]


def details(look: Look, truth: Look, per: int) -> list[float]:
    """Edge energy of each span as a share of the whole true walk's, mean over worlds."""
    whole = truth.edges.mean(1)
    return [float((part.mean(1) / whole).mean()) for part in look.edges.split(per, 1)]


def strangeness(look: Look, truth: Look, per: int) -> list[float]:
    """Fréchet distance of each span's features to those of the true walk's other spans."""
    out = []
    for i, part in enumerate(look.features.split(per, 1)):
        others = torch.cat([t for k, t in enumerate(truth.features.split(per, 1)) if k != i], 1)
        out.append(frechet(part.flatten(0, 1), others.flatten(0, 1)))
    return out


def drift(parts: Sequence[Wander], sheet: Path | None = None) -> Readings:
    """The figures of a walk; a film strip of every world."""
    w = joined(parts)
    per = w.span // EVERY
    spans = [f"{k * w.span}-{(k + 1) * w.span}" for k in range(w.frames // w.span)]
    colour, colour_true = (shifts(x, w.truth, per) for x in (w.drawn, w.truth))
    sharp, sharp_true = (details(x, w.truth, per) for x in (w.drawn, w.truth))
    theme, theme_true = ([float(p.float().mean()) for p in x.theme.split(per, 1)] for x in (w.drawn, w.truth))
    name = f"drift over {w.frames} frames"
    found: Readings = {
        f"{name}: colour shift, worst {w.span} frames": Reading(max(colour), "", max(colour_true)),
        f"{name}: sharpness, worst {w.span} frames": Reading(_furthest(sharp), "", _furthest(sharp_true)),
        f"{name}: theme kept, worst {w.span} frames": Reading(min(theme), "", min(theme_true)),
        f"{name}: theme kept": Reading(float(np.mean(theme)), "", float(np.mean(theme_true))),
        f"{name}: frozen frames": Reading(float(w.frozen[:, w.moving].float().mean()), "", 0.0),
    }
    rows = {"colour shift": (colour, colour_true), "sharpness": (sharp, sharp_true), "theme kept": (theme, theme_true)}
    if len(spans) > 1:
        rows["Fréchet distance"] = strange = strangeness(w.drawn, w.truth, per), strangeness(w.truth, w.truth, per)
        growth = [far[-1] / far[0] for far in strange]
        found[f"{name}: Fréchet distance, last span over first"] = Reading(growth[0], "", growth[1])
    for key, (own, true) in rows.items():
        found |= {f"{name}: {key} {s}": Reading(own[i], "", true[i]) for i, s in enumerate(spans)}
    if sheet is not None:
        columns = [str(m + 1) for m in strip_moments(w.frames, w.span)]
        write_labelled(sheet, list(w.strip), [THEMES[t] for t in w.themes], columns)
    return found


def _furthest(ratios: Sequence[float]) -> float:
    """The ratio furthest from 1."""
    return max(ratios, key=lambda r: abs(np.log(max(r, 1e-6))))
