"""What a film shows, moment by moment, as far as a world's viewer and judge can tell: the place, the time of day, how
fast somebody walks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from ...worlds.core import Viewer
from ...worlds.judge import GAP, Judge, judged_size
from ...worlds.media.scaling import fitted
from ...worlds.procedural.attributes import THEMES, TIMES, WEATHERS

LOOK_S = 1.0  # a look a second
MOVE_S = 0.5
JUDGED_FPS = 25.0  # frames per second of the films that the judge learnt motion from, GAP of them are 80 ms
SURE = 0.5  # of the place, below which a look says nothing
STILL = 0.02  # of the flow in widths per second below which nothing moves


@dataclass(frozen=True, slots=True)
class Sighting:
    """What one moment shows."""

    at_s: float
    theme: str = ""  # of procedural.attributes.THEMES; empty where the viewer is not sure
    time: str = ""
    weather: str = ""
    confidence: float = 0.0
    familiar: bool = True


@dataclass(frozen=True, slots=True)
class Watched:
    """What a film shows. `speeds` are metres per second of walking at `speed_times`, `bustle` what else moves."""

    seconds: float
    sightings: tuple[Sighting, ...]
    speed_times: tuple[float, ...]
    speeds: tuple[float, ...]
    bustle: tuple[float, ...]  # mean flow in picture widths per second

    @property
    def place(self) -> str:
        """The theme that is seen longest; empty where none is."""
        return _most([s.theme for s in self.sightings])

    @property
    def night(self) -> bool:
        return _most([s.time for s in self.sightings]) == "night"

    @property
    def familiar(self) -> bool:
        """Whether most of it looks like what the viewer learnt from."""
        return sum(s.familiar for s in self.sightings) * 2 > len(self.sightings)


def _most(names: list[str]) -> str:
    said = [name for name in names if name]
    return max(sorted(set(said)), key=said.count) if said else ""


def watched(
    frames: Iterable[NDArray[np.uint8]],
    fps: float,
    viewer: Viewer,
    judge: Judge | None = None,
    size: tuple[int, int] | None = None,
    most_s: float = 600.0,
    told: Callable[[float], None] | None = None,
) -> Watched:
    """Look at frames `[H, W, 3]` as they come; none is kept. `size` is the viewer's width and height where the
    frames have another. `told(seconds)` is called at every look. Raises ValueError on no frames."""
    gap = max(round(GAP * fps / JUDGED_FPS), 1)
    looks, moves = max(round(LOOK_S * fps), 1), max(round(MOVE_S * fps), gap + 1)
    sightings: list[Sighting] = []
    times, speeds, bustle = list[float](), list[float](), list[float]()
    before: NDArray[np.uint8] | None = None
    count = 0
    for index, frame in enumerate(frames):
        if index / fps >= most_s:
            break
        count = index + 1
        if index % looks == 0:
            sightings.append(_sighting(viewer, frame if size is None else fitted(frame, *size), index / fps))
            if told is not None:
                told(index / fps)
        if index % moves == 0:
            before = frame
        elif index % moves == gap and before is not None:
            speed, flow = _moved(before, frame, gap / fps, judge)
            times.append((index - gap / 2) / fps)
            speeds.append(speed)
            bustle.append(flow)
    if not count:
        raise ValueError("the film has no frames")
    return Watched(count / fps, tuple(sightings), tuple(times), tuple(speeds), tuple(bustle))


def _sighting(viewer: Viewer, rgb: NDArray[np.uint8], at_s: float) -> Sighting:
    sight = viewer.look(rgb)
    said = [word.strip() for word in sight.caption.split(",")]
    theme = said[0] if said[0] in THEMES and sight.confidence >= SURE else ""
    time = next((word for word in said if word in TIMES), "")
    weather = next((word for word in said if word in WEATHERS), "")
    return Sighting(at_s, theme, time, weather, sight.confidence, sight.familiar)


@torch.inference_mode()
def _moved(
    before: NDArray[np.uint8], after: NDArray[np.uint8], seconds: float, judge: Judge | None
) -> tuple[float, float]:
    """(walking speed in m/s, mean flow in widths per second)."""
    small = [cv2.resize(frame, (128, 80), interpolation=cv2.INTER_AREA) for frame in (before, after)]
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in small]
    method = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    flow = method.calc(grey[0], grey[1], np.empty(0, np.float32))
    mean = float(np.linalg.norm(flow, axis=-1).mean()) / 128 / seconds
    if judge is None or mean < STILL:
        return 0.0, mean
    pair = [torch.from_numpy(frame.astype(np.float32)).permute(2, 0, 1)[None] / 255 for frame in small]
    right, forward, _, _ = judge.moved(judged_size(pair[0]), judged_size(pair[1]))[0].tolist()
    return float(np.hypot(right, forward)) / seconds, mean
