"""What a clip goes on from: the newest frames of a video, and how the camera moved in them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from .camera_moves import Rig
from .clip_pictures import Picture, Window, placed
from .core import Action
from .judge import GAP, judged_size, load_judge
from .media.scaling import fitted
from .media.video_in import Video, read_video
from .weights import SHIPPED

JUDGED = 6  # of them, the newest, whose motion goes on
REMEMBERED = 12  # frames that a walk goes on from: the model looks no further back
STILL_M, STILL_RAD = 0.01, 0.0015  # a frame: less is what the judge reads in a camera that stands


@dataclass(frozen=True)
class Ending:
    """The end of a video, at the world's size and pace."""

    video: Video
    pictures: tuple[Picture, ...]
    newest: Picture  # as it is in the video
    count: int  # frames of the whole video at the world's pace

    @cached_property
    def led(self) -> Action:
        """The camera's motion in the last frames, a frame, as the judge reads it; nothing where it stands."""
        if len(self.pictures) <= GAP:
            return Action()
        stack = torch.from_numpy(np.stack(self.pictures[-JUDGED:]).astype(np.float32)).permute(0, 3, 1, 2) / 255
        seen = judged_size(stack)
        with torch.inference_mode():
            moved = load_judge(SHIPPED).moved(seen[:-GAP], seen[GAP:]).median(0).values / GAP
        right, forward, yaw, pitch = moved.tolist()
        if abs(forward) < STILL_M and abs(right) < STILL_M:
            right = forward = 0.0
        return Action(
            right_m=right, forward_m=forward, yaw_rad=yaw if abs(yaw) >= STILL_RAD else 0.0,
            pitch_rad=pitch if abs(pitch) >= STILL_RAD else 0.0,
        )  # fmt: skip


def read_ending(path: Path, part: Window, world_width: int, world_height: int, fps: float) -> Ending:
    """Reads the whole video, frame by frame. Raises MediaError, or OSError."""
    video = read_video(path)
    kept: deque[Picture] = deque(maxlen=REMEMBERED)
    newest: Picture | None = None
    count = 0
    for rgb in at_pace(video, fps):
        newest, count = rgb, count + 1
        kept.append(fitted(rgb, part.width, part.height))
    assert newest is not None, path
    pictures = tuple(placed(rgb, part, world_width, world_height) for rgb in kept)
    return Ending(video, pictures, newest, count)


def at_pace(video: Video, fps: float) -> Iterator[Picture]:
    """The frames of a video at another pace, as `paced`."""
    return paced(video.frames(), video.fps, Fraction(fps).limit_denominator(1001))


def paced(frames: Iterable[Picture], fps: Fraction, rate: Fraction) -> Iterator[Picture]:
    """Frames of `fps` a second at `rate`, each the newest one of its time: as long, no motion made up."""
    due = 0
    last: Picture | None = None
    index = -1
    for index, rgb in enumerate(frames):
        while last is not None and Fraction(due) / rate < Fraction(index) / fps:
            yield last
            due += 1
        last = rgb
    while last is not None and Fraction(due) / rate < Fraction(index + 1) / fps:
        yield last
        due += 1


def going_on(led: Action, rig: Rig, count: int) -> tuple[Action, ...]:
    """A camera that moves on as it did, within what the world's can do; a tilt comes to rest."""
    length = float(np.hypot(led.right_m, led.forward_m))
    k = min(1.0, rig.max_step_m / length) if length else 1.0
    turn = min(rig.max_turn_rad, max(-rig.max_turn_rad, led.yaw_rad))
    return tuple(Action(led.right_m * k, 0.0, led.forward_m * k, turn, led.pitch_rad * 0.9**i) for i in range(count))
