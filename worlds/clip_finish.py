"""From the model's frames to those of the file: cropped, enlarged, and true to the pictures that were given.

The model keeps a picture at its own size and no finer than its tokenizer does. What that loses of a keyframe (or of the
video that a clip goes on from) is laid over the frames next to it and fades within half a second, so that a clip begins
and ends in just the pictures that were given.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from .clip_pictures import Picture
from .clip_walks import faded
from .media.scaling import fitted

FADE = 12  # frames
_Lost = NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class Finish:
    """How frames of the world's shown part become those of the file."""

    width: int
    height: int
    first: Picture | None = None  # what frame 0 is to show, [height, width, 3]
    last: Picture | None = None
    before: tuple[Picture, Picture] | None = None  # of the frame before 0: (as it is, as the model keeps it)

    def frames(self, drawn: Iterable[Picture]) -> Iterator[Picture]:
        """Every frame `[height, width, 3]`, in order."""
        lost = None if self.before is None else lost_of(self.before[0], self.sized(self.before[1]))
        since = 1 if self.before is not None else 0
        for i, (rgb, left) in enumerate(_with_left(drawn, 0 if self.last is None else FADE)):
            out = self.sized(rgb)
            if i == 0 and self.first is not None:
                lost = lost_of(self.first, out)
            if lost is not None and i + since < FADE:
                out = laid(out, lost, 1.0 - faded((i + since) / FADE))
            if self.last is not None and left:
                share = 1.0 - faded((len(left) - 1) / FADE)
                out = laid(out, lost_of(self.last, self.sized(left[-1])), share)
            yield out

    def sized(self, rgb: Picture) -> Picture:
        """At the file's size. Larger by cubic convolution, which takes a tenth of the time of Lanczos."""
        if rgb.shape[1] >= self.width or rgb.shape[0] >= self.height:
            return fitted(rgb, self.width, self.height)
        out = cv2.resize(rgb, (self.width, self.height), interpolation=cv2.INTER_CUBIC)
        return np.asarray(out, np.uint8)


def lost_of(given: Picture, kept: Picture) -> _Lost:
    """What must be added to `kept` to be `given`."""
    return np.subtract(given, kept, dtype=np.int16)


def laid(rgb: Picture, lost: _Lost, share: float) -> Picture:
    """`share` of what was lost, in [0, 1], over a frame."""
    out = cv2.addWeighted(rgb, 1.0, lost, share, 0.0, dtype=cv2.CV_8U)
    return np.asarray(out, np.uint8)


def _with_left(drawn: Iterable[Picture], ahead: int) -> Iterator[tuple[Picture, tuple[Picture, ...]]]:
    """(a frame, all frames from it to the last one where those are at most `ahead`, else none)."""
    waiting: deque[Picture] = deque()
    for rgb in drawn:
        waiting.append(rgb)
        if len(waiting) > ahead:
            yield waiting.popleft(), ()
    while waiting:
        yield waiting[0], tuple(waiting)
        waiting.popleft()
