"""Where one shot ends and the next begins, frame by frame as they come, and how the camera moves within a shot."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from .core import Action
from .judge import GAP, HEIGHT_PX, WIDTH_PX, Judge

Picture = NDArray[np.uint8]
SIZE = (64, 40)  # at which shots are compared
COLOURS_APART = 0.35  # share of the picture whose colour is found nowhere in the next frame
STILL_APART = 0.06  # mean distance of brightness after the best motion between the two is undone


class Cuts:
    """Notices cuts. One after another, frames are looked at once."""

    def __init__(self) -> None:
        self._before: tuple[Picture, NDArray[np.float32]] | None = None
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)

    def begins(self, picture: Picture) -> bool:
        """Whether this frame, `uint8[H, W, 3]`, is the first of a shot; the first of all is."""
        small = np.asarray(cv2.resize(picture, SIZE, interpolation=cv2.INTER_AREA), np.uint8)
        grey = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.uint8)
        colours = _colours(small)
        before, self._before = self._before, (grey, colours)
        if before is None:
            return True
        apart = 1.0 - float(np.minimum(before[1], colours).sum())
        return apart > COLOURS_APART and self._unlike(before[0], grey) > STILL_APART

    def _unlike(self, a: Picture, b: Picture) -> float:
        """What no motion explains: a fast turn moves everything, a cut replaces it."""
        flow = self._flow.calc(b, a, np.empty(0, np.float32))
        x, y = np.meshgrid(np.arange(SIZE[0], dtype=np.float32), np.arange(SIZE[1], dtype=np.float32))
        moved = cv2.remap(a, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return float(np.abs(moved.astype(np.float32) - b).mean()) / 255


def _colours(small: Picture) -> NDArray[np.float32]:
    """Shares of 6 x 6 x 6 colours, softened so that a slow fade is no cut."""
    bins = cv2.calcHist([small], [0, 1, 2], None, [6, 6, 6], [0, 256] * 3).astype(np.float32)
    soft = sum((np.roll(bins, s, axis) for axis in range(3) for s in (-1, 1)), 2 * bins)
    return np.asarray(soft / soft.sum(), np.float32)


class Motion:
    """Reads the camera's motion from the frames as they come, by the judge's regression on optical flow."""

    def __init__(self, judge: Judge) -> None:
        self._judge, self._seen = judge, list[torch.Tensor]()

    def begin(self) -> None:
        """Another shot."""
        self._seen.clear()

    @torch.inference_mode()
    def into(self, picture: Picture) -> Action:
        """The motion into this frame `uint8[H, W, 3]`, in metres and radians; none into the first of a shot."""
        small = cv2.resize(picture, (WIDTH_PX, HEIGHT_PX), interpolation=cv2.INTER_AREA)
        now = torch.from_numpy(small).permute(2, 0, 1)[None].float() / 255
        self._seen = [*self._seen[-GAP:], now]
        gap = len(self._seen) - 1
        if not gap:
            return Action()
        # between neighbours, where there are only two, the flow is half as long: as if it were over GAP frames
        right, forward, yaw, pitch = (self._judge.moved(self._seen[0], now)[0] / GAP).tolist()
        return Action(right_m=right, forward_m=forward, yaw_rad=yaw, pitch_rad=pitch)
