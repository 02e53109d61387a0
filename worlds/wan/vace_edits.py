"""Edits of a video by VACE: each frame says what stays, what is drawn anew, and what leads the drawing.

Where whole frames change, the grey video leads (one of the controls that VACE was trained with): shapes stay, colours
and light follow the words. What a mask takes out is shown to the model as plain grey, so nothing of it shines through.
Keyframes are kept, the frames around them are led to them. What is not drawn is the source's own pixels, at full size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice

import cv2
import numpy as np

from ..edit_keyframes import Keyframe, moments
from ..edit_masks import Mask, Picture, feathered, laid, masks
from ..edit_shape import shaped
from ..edits import MOST_SEED, Edit, EditRefused, EditRequest, Source, Survey, aspect_size, decided, shots_of
from ..media.pictures import read_picture
from ..media.scaling import fitted
from .vace_video import VaceEditor

DOES = ("", "relight", "restyle", "replace", "remove", "background", "extend")
LED_BY_GREY = ("", "relight", "restyle")
GREY = 128  # nothing is shown
KEPT = 17  # frames that an extension goes on from
EXTEND_S = 3.0
CELL_PX = 16
Share = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Recipe:
    """One frame, all of it `[H, W]` at the size of the result."""

    base: Picture  # stays where nothing is drawn
    lead: Picture  # is shown to the model
    anew: Mask  # 1 is drawn
    soft: Mask  # the same, with soft edges to the inside


def drawn_size(width: int, height: int, pixels: int) -> tuple[int, int]:
    """(width, height) in multiples of 16 that come nearest to a shape and to as many pixels."""
    scale = math.sqrt(pixels / (width * height))
    return max(1, round(width * scale / CELL_PX)) * CELL_PX, max(1, round(height * scale / CELL_PX)) * CELL_PX


@dataclass(frozen=True)
class VaceEdits:
    """One video's edit. `pixels` is how many the model draws a frame; `told` hears shares in [0, 1] after every step
    and may end the work by raising."""

    editor: VaceEditor
    pixels: int
    source: Source
    seen: Survey
    request: EditRequest
    told: Share = lambda share: None

    def edited(self) -> Edit:
        """Raises ValueError on what cannot be; EditRefused where VACE does no such thing."""
        request = decided(self.request)
        if request.operation not in DOES:
            raise EditRefused(
                f"VACE makes no edit {request.operation!r}; leave the model out for that one (VACE makes: "
                f"{', '.join(name for name in DOES if name)}, or what the prompt says)"
            )
        notes = ["drawn by VACE in windows of 81 frames"]
        if request.strength != 1.0:
            notes.append("VACE has no strength: it is left out")
        if request.references:
            notes.append(f"{len(request.references)} references are shown to the model as pictures")
        if request.operation == "extend":
            return self._extended(request, notes)
        if request.operation in LED_BY_GREY and request.prompt.strip():
            notes.append("led by the grey video: shapes and brightness are the source's")
        keys = self._keys(request)
        width, height = self.source.width, self.source.height
        if request.aspect and request.outpaint:
            width, height = aspect_size(request.aspect, width, height, grow=True)
        drawn = drawn_size(width, height, self.pixels)
        edit = Edit(
            self._frames(request, keys, (width, height), drawn), self.seen.count, width, height,
            request.operation or "prompt", lambda: {"drawn_px": list(drawn), "keyframes_at": sorted(keys)},
            tuple(notes),
        )  # fmt: skip
        return edit if request.outpaint else shaped(edit, request)

    def _keys(self, request: EditRequest) -> Mapping[int, Keyframe]:
        return moments(request.keyframes, float(self.source.fps), self.seen.count)

    def _frames(
        self, request: EditRequest, keys: Mapping[int, Keyframe], size: tuple[int, int], drawn: tuple[int, int]
    ) -> Iterator[Picture]:
        """Shot by shot. The source is read twice in step: for the model, and for what stays of it."""
        ahead, again = self._recipes(request, keys, size), self._recipes(request, keys, size)
        lengths = [stop - start for start, stop in self.seen.spans]
        steps = _Steps(self.told, sum(_windows(n, self.editor) for n in lengths))
        for shot, count in enumerate(lengths):
            for picture, recipe in zip(
                self._shot(islice(ahead, count), request, shot, drawn, steps), islice(again, count), strict=True
            ):
                whole = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_LANCZOS4), np.uint8)
                yield laid(whole, recipe.base, recipe.soft)

    def _shot(
        self, recipes: Iterator[Recipe], request: EditRequest, shot: int, drawn: tuple[int, int], steps: _Steps
    ) -> Iterator[Picture]:
        waiting: list[Mask] = []  # of the frame that was taken: frames and masks are taken in turn

        def leads() -> Iterator[Picture]:
            for recipe in recipes:
                share = np.asarray(cv2.resize(recipe.anew, drawn, interpolation=cv2.INTER_AREA), np.float32)
                waiting.append((share > 0.02).astype(np.float32))
                yield _small(recipe.lead, drawn)

        def anew() -> Iterator[Mask]:
            while True:
                yield waiting.pop()

        pictures = [read_picture(reference.file) for reference in request.references]
        return self.editor.edited(leads(), (request.seed + shot) & MOST_SEED, anew(), pictures, steps)

    def _recipes(self, request: EditRequest, keys: Mapping[int, Keyframe], size: tuple[int, int]) -> Iterator[Recipe]:
        own = self.source.width, self.source.height
        mask = None if request.mask is None else masks(request.mask, *own)
        for index, _, _, picture in shots_of(self.source, self.seen):
            anew = np.ones(picture.shape[:2], np.float32) if mask is None else next(mask)
            if request.operation == "background":  # its mask is what stays
                anew = 1 - anew
            if index in keys:
                picture, anew = fitted(keys[index].rgb, *own), np.zeros_like(anew)
            elif not self._changes(request, index):
                anew = np.zeros_like(anew)
            soft = anew if mask is None else feathered(anew)
            yield _recipe(picture, anew, soft, request.operation in LED_BY_GREY, size)

    def _changes(self, request: EditRequest, index: int) -> bool:
        """Whether anything asks for another frame here: words, a mask to fill, or a keyframe whose range holds it."""
        if request.prompt.strip() or request.operation not in LED_BY_GREY:
            return True
        at_s = index / float(self.source.fps)
        return any(k.start_s <= at_s <= k.end_s for k in request.keyframes)

    def _extended(self, request: EditRequest, notes: list[str]) -> Edit:
        """The source as it is, then frames that go on from its newest ones."""
        fps = float(self.source.fps)
        more = max(1, round((EXTEND_S if request.seconds is None else request.seconds) * fps))
        size = self.source.width, self.source.height
        drawn = drawn_size(*size, self.pixels)
        kept = min(KEPT, self.seen.count - self.seen.shots[-1])
        if request.camera:
            notes.append("VACE follows no camera moves beside the prompt: say them there")

        def frames() -> Iterator[Picture]:
            newest: list[Picture] = []
            for index, _, _, picture in shots_of(self.source, self.seen):
                if index >= self.seen.count - kept:
                    newest.append(_small(picture, drawn))
                yield picture
            grey = np.full((drawn[1], drawn[0], 3), GREY, np.uint8)
            asked = (np.full(grey.shape[:2], i >= kept, np.float32) for i in range(kept + more))
            pictures = [read_picture(reference.file) for reference in request.references]
            steps = _Steps(self.told, _windows(kept + more, self.editor))
            shown = chain(newest, (grey for _ in range(more)))
            made = self.editor.edited(shown, request.seed, asked, pictures, steps)
            for picture in islice(made, kept, None):
                yield np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_LANCZOS4), np.uint8)

        edit = Edit(
            frames(), self.seen.count + more, *size, "extend",
            lambda: {"extended_frames": more, "drawn_px": list(drawn)},
            (*notes, "the sound ends where the source does"),
        )  # fmt: skip
        return shaped(edit, request)


class _Steps:
    """Hears the steps of one window after another."""

    def __init__(self, told: Share, windows: int) -> None:
        self._told, self._windows, self._done = told, windows, 0

    def __call__(self, done: int, of: int) -> None:
        share = (self._done + done / of) / self._windows
        if done == of:
            self._done += 1
        self._told(min(1.0, share))


def _windows(count: int, editor: VaceEditor) -> int:
    return 1 + max(0, -(-(count - editor.window) // (editor.window - editor.overlap)))


def _recipe(picture: Picture, anew: Mask, soft: Mask, grey: bool, size: tuple[int, int]) -> Recipe:
    """In the middle of a canvas of `size`, around which all is drawn."""
    fill = np.full_like(picture, GREY)
    if grey:
        fill[:] = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)[..., None]
    lead = np.where(anew[..., None] > 0.02, fill, picture).astype(np.uint8)
    if (picture.shape[1], picture.shape[0]) == size:
        return Recipe(picture, lead, anew, soft)
    height, width = picture.shape[:2]
    top, left = (size[1] - height) // 2, (size[0] - width) // 2
    inside = slice(top, top + height), slice(left, left + width)
    pictures = np.full((2, size[1], size[0], 3), GREY, np.uint8)
    shares = np.ones((2, size[1], size[0]), np.float32)
    pictures[0][inside], pictures[1][inside] = picture, lead
    shares[0][inside], shares[1][inside] = anew, soft
    return Recipe(pictures[0], pictures[1], shares[0], shares[1])


def _small(picture: Picture, size: tuple[int, int]) -> Picture:
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
