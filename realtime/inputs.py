"""Many input events, one `Action` per frame: the newest state wins, and it is read as late as possible.

The client sends *state* (keys held, cumulative mouse), so lost and late messages cost nothing. Turning is cumulative:
what the world cannot turn in one frame is carried to the next ones, up to a bound, so that a quick flick of the mouse
ends where the hand ended and a wild one does not spin on for seconds. Pure: the caller brings the clock.
"""

from __future__ import annotations

import math
from collections.abc import Set

from ..worlds.core import Action
from .config import InputConfig
from .protocol import Input


class InputState:
    """What one player's hands do. Owned by the worker thread."""

    def __init__(self, config: InputConfig, max_step_m: float, max_turn_rad: float, frames: int = 1) -> None:
        """`frames` are those of one action; the bounds are for all of them together."""
        self._config = config
        self._frames = frames
        self._max_step_m = max_step_m
        self._max_turn_rad = max_turn_rad
        self.begin(None)

    def begin(self, baseline: Input | None) -> None:
        """A new turn at the wheel. `baseline` is the last input from before it: its keys and its mouse path do not
        count, only what comes after."""
        self._newest = baseline
        self._input_id = 0  # the baseline belongs to before: its id must not be answered
        self._arrived_s = 0.0
        self._keys: frozenset[str] = frozenset()
        self._tapped: set[str] = set()  # went down since the last frame, perhaps up again
        self._move = (0.0, 0.0)
        self._yaw_owed_rad = 0.0
        self._pitch_owed_rad = 0.0
        self._fresh = False

    def receive(self, message: Input, now_s: float) -> bool:
        """Take a newer state. False, and no effect, where `seq` is not newer than the newest."""
        last = self._newest
        if last is not None and message.seq <= last.seq:
            return False
        bound = self._config.carry_frames * self._max_turn_rad / self._frames
        yaw, pitch = (last.yaw, last.pitch) if last is not None else (0.0, 0.0)
        self._yaw_owed_rad = _clip(self._yaw_owed_rad + message.yaw - yaw, bound)
        self._pitch_owed_rad = _clip(self._pitch_owed_rad + message.pitch - pitch, bound)
        self._tapped |= message.keys
        self._keys = message.keys
        self._move = message.move or (0.0, 0.0)
        self._newest = message
        self._input_id = message.seq
        self._arrived_s = now_s
        self._fresh = True
        return True

    @property
    def busy(self) -> bool:
        """Whether something is held or the view is to turn."""
        owed = self._yaw_owed_rad != 0.0 or self._pitch_owed_rad != 0.0
        return bool(self._keys or self._tapped) or self._move != (0.0, 0.0) or owed

    def compose(self) -> tuple[Action, bool]:
        """The action of the frame that is drawn next, and whether it answers an input that no frame answered before."""
        held = self._keys | self._tapped
        right, forward = self._walk(held)
        yaw, self._yaw_owed_rad = self._turn(held, "turn_right", "turn_left", self._config.turn_rad, self._yaw_owed_rad)
        pitch, self._pitch_owed_rad = self._turn(
            held, "look_up", "look_down", self._config.look_rad, self._pitch_owed_rad
        )
        fresh, self._fresh = self._fresh, False
        self._tapped.clear()
        action = Action(
            right_m=right,
            forward_m=forward,
            yaw_rad=yaw,
            pitch_rad=pitch,
            keys=frozenset(held),
            input_id=self._input_id,
            input_time_s=self._arrived_s,
        )
        return action, fresh

    def _walk(self, held: Set[str]) -> tuple[float, float]:
        """Metres right and forward; a diagonal is as long as a straight step."""
        right = ("right" in held) - ("left" in held) + self._move[0]
        forward = ("forward" in held) - ("back" in held) + self._move[1]
        length = math.hypot(right, forward)
        if length > 1.0:
            right, forward = right / length, forward / length
        step_m = min(self._frames * self._config.walk_m, self._max_step_m)
        return right * step_m, forward * step_m

    def _turn(self, held: Set[str], plus: str, minus: str, speed_rad: float, owed_rad: float) -> tuple[float, float]:
        """Radians to turn now, and what the mouse is still owed."""
        by_key = _clip(self._frames * speed_rad * ((plus in held) - (minus in held)), self._max_turn_rad)
        total = _clip(by_key + owed_rad, self._max_turn_rad)
        return total, owed_rad - (total - by_key)


def _clip(value: float, bound: float) -> float:
    return max(-bound, min(bound, value))
