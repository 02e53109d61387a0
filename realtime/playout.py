"""The frames of a chunk are drawn together and shown one after another.

A world that draws several frames in a step hands them over as fast as it decodes them, then is busy with the next
chunk. Here they wait for their turn, one frame period apart. The first is shown when it comes; a chunk that comes late
leaves a gap, and what has piled up is shown a little faster until it is gone. Worlds of one frame a step pass through.
Lives on the event loop.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from .mailbox import Drawn, Event

HURRY = 0.95  # of the frame period, for the frames of a chunk that found others waiting


class Timer(Protocol):
    """What `asyncio.loop.call_later` returns."""

    def cancel(self) -> None: ...


class Playout:
    """Between the worker's events and the lobby."""

    def __init__(
        self,
        show: Callable[[Event], None],
        fps: float,
        frames_per_step: int,
        clock: Callable[[], float],
        later: Callable[[float, Callable[[], None]], Timer],
    ) -> None:
        """`show` takes every event; `later(seconds, call)` calls once."""
        self._show, self._clock, self._later = show, clock, later
        self._period_s, self._chunk = 1.0 / fps, frames_per_step
        self._waiting: deque[Drawn] = deque()
        self._timer: Timer | None = None
        self._next_s = 0.0  # not before this is the next frame shown
        self._hurried = 0  # frames that are to be shown a little faster
        self._scene = -1

    def on_event(self, event: Event) -> None:
        """Pictures wait for their turn; all else is told at once. A cut displaces the pictures from before it."""
        if self._chunk == 1 or not isinstance(event, Drawn):
            self._show(event)
            return
        now_s = self._clock()
        if event.scene != self._scene:
            self._scene, self._next_s = event.scene, now_s
            self.clear()
        self._waiting.append(event)
        if len(self._waiting) > self._chunk:
            self._hurried = self._chunk
        if self._timer is None:
            self._next_s = max(self._next_s, now_s)
            self._turn()

    def clear(self) -> None:
        """Whoever waits is not shown."""
        self._waiting.clear()
        self._hurried = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _turn(self) -> None:
        """Show what is due, then wait for the next one's turn."""
        self._timer = None
        while self._waiting:
            now_s = self._clock()
            if now_s < self._next_s:
                self._timer = self._later(self._next_s - now_s, self._turn)
                return
            frame = self._waiting.popleft()
            # a loop that was held up does not make up for it with a burst
            period_s = self._period_s * (HURRY if self._hurried else 1.0)
            self._next_s = max(self._next_s, now_s - self._period_s) + period_s
            self._hurried = max(0, self._hurried - 1)
            self._show(frame)
