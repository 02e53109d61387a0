"""Edits of a video: other light, weather, season or style; a part replaced or removed; another background, shape, angle
or ending. Offline, frame by frame: however long the source, a few of its frames are in memory.

`survey` looks through the source once: how long it is, where its shots begin. `edited` then makes the frames. The size,
pace and length of the source stay, unless the edit is about them. Each shot is edited by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .clip_pictures import Reference
from .edit_keyframes import Keyframe
from .edit_shots import Cuts
from .edit_words import operation_of

Picture = NDArray[np.uint8]
OPERATIONS = (
    "", "relight", "restyle", "replace", "remove", "background", "green", "clean_plate", "extend", "angle",
)  # fmt: skip
ASPECTS = ("16:9", "4:3", "3:2", "1:1", "2:3", "3:4", "9:16", "21:9")
MOST_SEED = (1 << 63) - 1
LEAST_FRAMES = 2


class EditRefused(ValueError):
    """No model here can do it, or it cannot be done without something that is missing; the text says what."""


def decided(request: EditRequest) -> EditRequest:
    """With the operation that its words ask for, where it names none. Raises EditRefused where that needs a mask."""
    operation = request.operation or operation_of(request.prompt)
    if operation in ("remove", "replace") and request.mask is None:
        raise EditRefused(f"to {operation} something, give a mask that is white where it is: words cannot find it here")
    if operation in ("green", "background") and request.mask is None:
        raise EditRefused(
            f"the edit {operation!r} needs a mask that is white where the foreground is: "
            "no model on this machine tells the foreground from the background"
        )
    return replace(request, operation=operation)


class Source(Protocol):
    """A video; `worlds.media.video_in.Video` is one."""

    @property
    def path(self) -> Path: ...
    @property
    def fps(self) -> Fraction: ...
    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    def frames(self) -> Iterator[Picture]:
        """From the start, each time."""
        ...


@dataclass(frozen=True, slots=True)
class EditRequest:
    """What is asked for. Raises ValueError on what makes no edit."""

    prompt: str = ""
    operation: str = ""  # of OPERATIONS; empty: the prompt decides
    seed: int = 0
    strength: float = 1.0  # 0 changes nothing, 1 all that was asked, up to 1.5 more than that
    keyframes: tuple[Keyframe, ...] = ()  # at any size
    aspect: str = ""  # of ASPECTS, or any W:H; empty: the source's
    outpaint: bool = False  # fill another shape from other frames and from around, instead of cropping to it
    seconds: float | None = None  # that an extension lasts
    camera: str = ""  # moves in words, of extensions and new angles
    mask: Path | None = None  # white is what changes; of background and green: what stays
    references: tuple[Reference, ...] = ()  # the first is what a new background begins with

    def __post_init__(self) -> None:
        if self.operation not in OPERATIONS:
            named = ", ".join(name for name in OPERATIONS if name)
            raise ValueError(f"there is no edit {self.operation!r}; there are {named}, or none for the prompt alone")
        if not 0 <= self.seed <= MOST_SEED:
            raise ValueError(f"seed must be in [0, 2^63), got {self.seed}")
        if not 0 <= self.strength <= 1.5:
            raise ValueError(f"strength must be in [0, 1.5], got {self.strength:g}")
        if self.seconds is not None and not 0.2 <= self.seconds <= 180:
            raise ValueError(f"an extension lasts 0.2 to 180 s, got {self.seconds:g}")
        needs_words = self.operation in ("relight", "restyle", "replace") or not (self.operation or self.keyframes)
        if needs_words and not self.prompt.strip() and not self.keyframes and not self.aspect:
            raise ValueError("say in the prompt what the video should become, or give keyframes")


@dataclass(frozen=True, slots=True)
class Survey:
    """What one look through a source found."""

    count: int  # frames
    shots: tuple[int, ...]  # their first frames

    @property
    def spans(self) -> list[tuple[int, int]]:
        """(first, end) of every shot."""
        return list(pairwise([*self.shots, self.count]))


def survey(source: Source, told: Callable[[int], None] = lambda done: None) -> Survey:
    """Look through it once; `told` hears how many frames. Raises ValueError where it is too short, or MediaError."""
    cuts, shots, count = Cuts(), list[int](), 0
    for count, picture in enumerate(source.frames(), 1):
        if cuts.begins(picture):
            shots.append(count - 1)
        told(count)
    if count < LEAST_FRAMES:
        raise ValueError(f"the video has {count} frames; an edit needs at least {LEAST_FRAMES}")
    return Survey(count, tuple(shots))


@dataclass(slots=True)
class Edit:
    """An edit under way: take its frames, then read `facts`."""

    frames: Iterator[Picture]  # [height, width, 3]
    count: int
    width: int
    height: int
    operation: str
    facts: Callable[[], dict[str, object]] = field(default=dict)
    notes: tuple[str, ...] = ()


def aspect_size(aspect: str, width: int, height: int, grow: bool) -> tuple[int, int]:
    """(width, height) of another shape, even numbers: cut out of the picture, or around it where it may `grow`.
    Raises ValueError on a shape that is none."""
    across, _, down = aspect.partition(":")
    if not (across.isdigit() and down.isdigit() and 0 < int(across) <= 100 and 0 < int(down) <= 100):
        raise ValueError(f"an aspect is width:height, e.g. {', '.join(ASPECTS)}; got {aspect!r}")
    shape = int(across) / int(down)
    wider = shape > width / height
    if wider == grow:
        size = round(height * shape), height
    else:
        size = width, round(width / shape)
    even = max(2, size[0] - size[0] % 2), max(2, size[1] - size[1] % 2)
    if abs(even[0] - width) < 2 and abs(even[1] - height) < 2:
        return width, height
    return even


def shots_of(source: Source, seen: Survey) -> Iterator[tuple[int, int, bool, Picture]]:
    """(index, number of its shot, whether it begins it, frame) of every frame."""
    starts, shot = set(seen.shots), -1
    for index, picture in enumerate(source.frames()):
        begins = index in starts
        shot += begins
        yield index, shot, begins, picture


def collected(source: Source, wanted: Sequence[int]) -> dict[int, Picture]:
    """Some frames of a source."""
    left, out = set(wanted), dict[int, Picture]()
    for index, picture in enumerate(source.frames()):
        if index in left:
            out[index] = picture.copy()
            left.discard(index)
        if not left:
            break
    return out
