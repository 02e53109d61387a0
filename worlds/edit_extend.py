"""A video that goes on after its end: the clip that `clips.py` draws from a video, at the video's own pace."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import islice

import numpy as np

from .clip_extend import paced
from .clip_pictures import Picture
from .clips import MOST_SECONDS, ClipRequest, drawn, finished, planned
from .core import World
from .edits import Edit, EditRequest, Source, Survey

EXTEND_S = 3.0


def extended(world: World, source: Source, seen: Survey, request: EditRequest) -> Edit:
    """The source as it is, then what the model draws of what comes next. Raises ValueError or MediaError."""
    fps, seconds = source.fps, EXTEND_S if request.seconds is None else request.seconds
    more = max(1, round(seconds * fps))
    spare = 1 / world.fps + 1 / float(fps)  # so that no frame is short at the other pace
    asked = ClipRequest(
        request.prompt, min(MOST_SECONDS, seconds + spare), source.width, source.height, request.seed, request.camera,
        references=request.references, extend=source.path, joined=False,
    )  # fmt: skip
    plan = planned(world, asked)

    def frames() -> Iterator[Picture]:
        yield from source.frames()
        shown = (step.rgb for step in drawn(world, plan) if step.shown and step.rgb is not None)
        new = paced(finished(plan, shown, world.fps), Fraction(world.fps).limit_denominator(1001), fps)
        yield from _exactly(new, more)

    notes = (
        "what follows the source is drawn by the model and brought to the source's size: softer than the source",
        "the sound ends where the source does",
        *plan.notes,
    )
    return Edit(
        frames(), seen.count + more, source.width, source.height, "extend",
        lambda: {"extended_frames": more, "drawn_px": [world.width_px, world.height_px]}, notes,
    )  # fmt: skip


def _exactly(frames: Iterable[Picture], count: int) -> Iterator[Picture]:
    """The first `count`; the last one stays where there are fewer."""
    made, last = 0, np.zeros((0, 0, 3), np.uint8)
    for last in islice(frames, count):
        made += 1
        yield last
    for _ in range(count - made):
        yield last
