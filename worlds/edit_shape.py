"""An edit in another shape: cropped around the middle, or with more at its sides."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from .edit_masks import Picture
from .edit_plate import Counts, Plate, Sample
from .edits import Edit, EditRequest, aspect_size
from .media.scaling import cropped, fitted


def shaped(edit: Edit, request: EditRequest) -> Edit:
    """In the shape that is asked for, where one is. Raises ValueError on a shape that is none."""
    if not request.aspect:
        return edit
    width, height = aspect_size(request.aspect, edit.width, edit.height, request.outpaint)
    if (width, height) == (edit.width, edit.height):
        return replace(edit, notes=(*edit.notes, f"the video is {request.aspect} already"))
    facts, counts = edit.facts, Counts()
    if not request.outpaint:
        frames = (np.ascontiguousarray(_cropped(p, width, height)) for p in edit.frames)
        return replace(
            edit, frames=frames, width=width, height=height, facts=lambda: {**facts(), "aspect": "cropped"},
            notes=(*edit.notes, f"cropped around the middle to {width} x {height}"),
        )  # fmt: skip
    return replace(
        edit, frames=_outpainted(edit.frames, width, height, counts), width=width, height=height,
        facts=lambda: {**facts(), "aspect": "outpainted", **counts.facts()},
        notes=(
            *edit.notes,
            f"{width} x {height}: the sides are from earlier frames where they showed them, else painted from the edge",
        ),
    )  # fmt: skip


def _cropped(picture: Picture, width: int, height: int) -> Picture:
    part = cropped(picture, width, height)
    return part if part.shape[:2] == (height, width) else fitted(part, width, height)


def _outpainted(frames: Iterator[Picture], width: int, height: int, counts: Counts) -> Iterator[Picture]:
    """Frames on a larger canvas, its sides from what earlier frames showed there."""
    before: list[Sample] = []
    for index, picture in enumerate(frames):
        top, left = (height - picture.shape[0]) // 2, (width - picture.shape[1]) // 2
        canvas, hole = np.zeros((height, width, 3), np.uint8), np.ones((height, width), np.float32)
        inside = slice(top, top + picture.shape[0]), slice(left, left + picture.shape[1])
        canvas[inside], hole[inside] = picture, 0.0
        plate = Plate(before, counts)
        yield plate.filled(canvas, hole, index)
        if index % 6 == 0:
            before = [*before[-7:], Sample(index, canvas, hole)]
