"""Does a place that was left behind look the same on return? A full turn on the spot; out ahead and back.

The walk starts from a true view and stands still for four frames, so that the model has drawn the place itself. Back
there, its picture is compared with the truth and with its own first visit. Copying the start view for ever scores
perfectly at the return and nowhere else: so the whole way back counts beside it. There, the truth is asked only about
what the start view showed; what lay beyond, the model had to invent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..procedural.attributes import THEMES
from ..procedural.paths import FORWARD, YAW
from ..procedural.paths import Path as Walk
from ..procedural.visibility import seen_before
from .likeness import Reading, Readings, each_psnr, mean_of, sharpness
from .playing import Model, walk_batch
from .sheets import write_labelled
from .truth import TrueWalks, WalkBatch, decoded, rebuilt, true_walks, walked, without_memory, worlds_of

STILL = 4  # frames at the start view
TURN_FRAMES, MORE_FRAMES = 80, 20  # of a full turn, and of the second lap: 4.5 degrees each
STEPS, STEP_M = 32, 0.32  # 10.24 m
FIRST_WORLD = 200_000


@dataclass(frozen=True, slots=True)
class Loop:
    """A walk that comes back."""

    name: str
    path: Walk  # [T, 4]
    again: tuple[tuple[int, int], ...]  # (frame, the earlier frame at the same pose), the first pair at the start view
    elsewhere: int  # a frame of the first visit whose view is another: what copying a wrong view scores
    strip: tuple[tuple[str, int], ...]  # moments for the film strip


def turn() -> Loop:
    """360 degrees to the right, then 90 more: the second lap shows again what the first one drew."""
    path = np.zeros((STILL + TURN_FRAMES + MORE_FRAMES, 4), np.float32)
    path[STILL:, YAW] = 2 * math.pi / TURN_FRAMES
    last = STILL - 1
    again = tuple((last + TURN_FRAMES + i, last + i) for i in range(MORE_FRAMES + 1))
    quarter = TURN_FRAMES // 4
    names = ("start", "90°", "180°", "270°", "360°")
    strip = tuple((name, last + i * quarter) for i, name in enumerate(names))
    return Loop("360° turn", path, again, last + 10, strip)  # ten frames: 45 degrees


def out_and_back() -> Loop:
    """Forward 10.24 m, then backwards the same way."""
    path = np.zeros((STILL + 2 * STEPS, 4), np.float32)
    path[STILL : STILL + STEPS, FORWARD], path[STILL + STEPS :, FORWARD] = STEP_M, -STEP_M
    last = STILL - 1
    far, end = last + STEPS, last + 2 * STEPS
    again = tuple((end - i, last + i) for i in range(STEPS))
    strip = (
        ("start", last),
        ("5 m", last + STEPS // 2),
        ("10 m", far),
        ("back at 5 m", end - STEPS // 2),
        ("back", end),
    )
    return Loop("10 m out and back", path, again, far, strip)


LOOPS = (turn, out_and_back)


@dataclass(frozen=True, slots=True)
class Visit:
    """What is compared: pictures `[B, M, 3, H, W]` over the M pairs of a loop."""

    truth: Tensor
    rebuilt: Tensor  # the truth through the tokenizer
    seen: Tensor  # bool[B, M, H, W]: what the start view showed
    start: Tensor  # [B, 3, H, W] the true start view
    elsewhere: Tensor  # [B, 3, H, W] another true view


def visit(model: Model, loop: Loop, walks: TrueWalks) -> Visit:
    """The truth of a loop."""
    earlier = [before for _, before in loop.again]
    truth = walks.at(earlier)
    masks = []
    for b, e in enumerate(walks.episodes):
        given = walks.history.shape[1] - 1
        start = e.depth[given : given + 1], e.cameras[given : given + 1]
        masks.append(np.stack([seen_before(e.depth[walks.row(m)], walks.camera(b, m), *start) for m in earlier]))
    seen = torch.from_numpy(np.stack(masks))
    return Visit(truth, rebuilt(model, truth), seen, walks.given, walks.at([loop.elsewhere])[:, 0])


@dataclass(frozen=True, slots=True)
class Scores:
    """Of one way to draw the way back: dB and shares."""

    back: float  # the start view on return, against the truth
    back_sharp: float
    back_own: float  # and against the own first visit
    way: float  # the whole way back against the truth, where the start view showed it
    way_sharp: float
    way_own: float


def scored(first: Tensor, again: Tensor, v: Visit) -> Scores:
    """`first` and `again` `[B, M, 3, H, W]`: what was drawn at the M poses before and on the way back."""
    whole, truth, seen = again[:, 1:].flatten(0, 1), v.truth[:, 1:].flatten(0, 1), v.seen[:, 1:].flatten(0, 1)
    return Scores(
        mean_of(each_psnr(again[:, 0], v.truth[:, 0])),
        sharpness(again[:, 0], v.rebuilt[:, 0]),
        mean_of(each_psnr(again[:, 0], first[:, 0])),
        mean_of(each_psnr(whole, truth, seen)),
        sharpness(whole, v.rebuilt[:, 1:].flatten(0, 1)),
        mean_of(each_psnr(whole, first[:, 1:].flatten(0, 1))),
    )


def readings(name: str, on: Scores, off: Scores, ceiling: Scores, still: Scores, wrong: float) -> Readings:
    """The table of one loop. `still` copies the start view, `wrong` another view."""
    dB = "dB"
    own_gain, gain = on.back_own - off.back_own, on.back - off.back
    return {
        f"{name}: PSNR of the start view on return": Reading(on.back, dB, ceiling.back, still.back, off.back),
        f"{name}: gain of memory": Reading(gain, dB),
        f"{name}: sharpness of the return": Reading(on.back_sharp, "", 1.0, still.back_sharp, off.back_sharp),
        f"{name}: PSNR of another true view, 45° or 10 m away": Reading(wrong, dB),
        f"{name}: PSNR of the return against the own first visit": Reading(on.back_own, dB, None, None, off.back_own),
        f"{name}: gain of memory against the own first visit": Reading(own_gain, dB),
        f"{name}: PSNR of the way back, what the start view showed": Reading(
            on.way, dB, ceiling.way, still.way, off.way
        ),
        f"{name}: PSNR of the way back against the own first visit": Reading(
            on.way_own, dB, None, still.way_own, off.way_own
        ),
        f"{name}: sharpness of the way back": Reading(on.way_sharp, "", 1.0, still.way_sharp, off.way_sharp),
    }


@torch.no_grad()
def loop_closure(
    model: Model,
    themes: tuple[int, ...] = tuple(range(len(THEMES))),
    each: int = 2,
    sheet: Path | None = None,
    walk: WalkBatch = walk_batch,
    strips: int = 3,
) -> Readings:
    """Both loops in `each` unseen worlds a theme, with memory and without; a film strip of the first worlds of
    `strips` themes."""
    found: Readings = {}
    columns: list[str] = []
    pictures: list[Tensor] = []
    off = without_memory(model)
    worlds = worlds_of(themes, each, FIRST_WORLD)
    shown = [len(worlds) * i // strips for i in range(min(strips, len(worlds)))]
    for made in LOOPS:
        loop = made()
        films = [m for _, m in loop.strip]
        moments = sorted({before for _, before in loop.again} | {loop.elsewhere, *films})
        walks = true_walks(model, worlds, [loop.path] * len(worlds), len(loop.path), moments)
        v = visit(model, loop, walks)
        scores: list[Scores] = []
        rows = [walks.at(films)[shown]]
        for variant in (model, model if off is None else off):
            if variant is model and scores:  # no memory to switch off: the same walk
                scores.append(scores[0])
                rows.append(rows[-1])
                continue
            latents = walked(variant, walks, 4, walk)
            first, again = (decoded(model, latents[:, [pair[i] for pair in loop.again]]) for i in (1, 0))
            scores.append(scored(first, again, v))
            rows.append(decoded(model, latents[shown][:, films]))
        still = v.start[:, None].expand_as(v.truth)
        wrong = mean_of(each_psnr(v.elsewhere, v.truth[:, 0]))
        perfect = scored(v.rebuilt, v.rebuilt, v)
        found |= readings(loop.name, scores[0], scores[1], perfect, scored(v.rebuilt, still, v), wrong)
        columns += [name for name, _ in loop.strip]
        pictures.append(torch.stack(rows, 1))  # [S, 3 rows, M, 3, H, W]
    if sheet is not None:
        names = ("truth", "memory on" if off is not None else "model (no memory)", "memory off")
        labels = [f"{THEMES[worlds[s].theme]}: {n}" for s in shown for n in names]
        write_labelled(sheet, list(torch.cat(pictures, 2).flatten(0, 1)), labels, columns)
    return found
