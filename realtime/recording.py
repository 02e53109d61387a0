"""The action log of a walk that goes on: the bytes of its file, so that handing it over costs a copy and no encoding.

A frame takes 30 to 120 bytes, an hour at 25 frames a second 3 to 11 MB. `full` says that the limit is reached; what is
drawn after that is not in the log.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from typing import TypeVar

from ..worlds.action_log import (
    MOST_ACTIONS,
    PLAIN,
    VERSION,
    LogHeader,
    encoded,
    encoded_header,
    encoded_steps,
    parse_line,
)
from ..worlds.core import Action

T = TypeVar("T")


class Recording:
    """One frame after another, readable at any of them. Owned by the worker thread."""

    def __init__(self, header: LogHeader, most_bytes: int, most_frames: int = MOST_ACTIONS) -> None:
        self.header = header
        self._most_bytes, self._most_frames = most_bytes, most_frames
        self._text = bytearray()  # the lines after the header
        self._ends = array("Q")  # where each frame's line ends
        self._steps = [(0, header.steps)]  # (frame, steps from there on)
        self._prompts = [(0, header.prompt)]

    def __len__(self) -> int:
        """Frames."""
        return len(self._ends)

    @property
    def size_bytes(self) -> int:
        return len(self._text) + self._ends.itemsize * len(self._ends)

    @property
    def full(self) -> bool:
        return len(self._text) >= self._most_bytes or len(self) >= self._most_frames

    def add(self, action: Action, steps: int) -> None:
        """The next frame. Not to be called when full."""
        assert not self.full, len(self)
        if steps != self._steps[-1][1]:
            self._steps.append((len(self), steps))
            self._text += encoded_steps(steps).encode() + b"\n"
        if action.prompt is not None:
            self._prompts.append((len(self), action.prompt))
        self._text += encoded(action).encode() + b"\n"
        self._ends.append(len(self._text))

    def entry(self, frame: int) -> tuple[Action, int]:
        """(action, denoising steps) of a frame that was drawn."""
        assert 0 <= frame < len(self), frame
        start = self._ends[frame - 1] if frame else 0
        action = parse_line(self._text[start : self._ends[frame]].splitlines()[-1].decode())
        assert isinstance(action, Action)
        return action, _at(self._steps, frame)

    def prompt(self, frames: int) -> str:
        """The prompt that holds once `frames` frames are drawn."""
        return _at(self._prompts, frames - 1) if frames else self.header.prompt

    def cut(self, frames: int) -> Recording:
        """A copy of the first `frames` frames."""
        assert 0 <= frames <= len(self), frames
        short = Recording(self.header, self._most_bytes, self._most_frames)
        short._ends = self._ends[:frames]
        short._text = self._text[: self._ends[frames - 1] if frames else 0]
        short._steps = [self._steps[0], *(item for item in self._steps[1:] if item[0] < frames)]
        short._prompts = [self._prompts[0], *(item for item in self._prompts[1:] if item[0] < frames)]
        return short

    def content(self) -> bytes:
        """The file."""
        version = PLAIN if len(self._steps) == 1 else VERSION
        return encoded_header(self.header, version).encode() + b"\n" + bytes(self._text)


def _at(changes: list[tuple[int, T]], frame: int) -> T:
    """The value that holds at a frame."""
    return changes[bisect_right(changes, frame, key=lambda item: item[0]) - 1][1]
