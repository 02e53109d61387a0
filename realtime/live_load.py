"""How much the offline half may take of the machine while somebody plays live."""

from __future__ import annotations

from collections.abc import Callable

from .jobs.process import Calm
from .mailbox import Drawn, Event, StepsChanged

RELIEF_S = 2.0  # offline work rests for so long after the live world was late
REST_S = 20.0  # but not longer than so at a stretch: where the machine is too slow anyway, tasks must still end
SHARE = 4  # of the cores, one in so many while somebody plays


class LiveLoad:
    """Hears what the live worker says. Lives on the event loop."""

    def __init__(self, clock: Callable[[], float], cores: int) -> None:
        self._clock, self._cores = clock, cores
        self._late_s = -1e9
        self._rests_since_s: float | None = None

    def hear(self, event: Event) -> None:
        """A frame that missed its slot, or fewer steps because the machine cannot keep up: the live world is late."""
        if (isinstance(event, Drawn) and event.skipped) or (isinstance(event, StepsChanged) and event.lower):
            self._late_s = self._clock()

    def calm(self, playing: bool) -> Calm:
        """What heavy jobs are told."""
        if not playing:
            return Calm()
        return Calm(max(1, self._cores // SHARE), paused=self._rests(self._clock()))

    def _rests(self, now_s: float) -> bool:
        if now_s - self._late_s >= RELIEF_S:
            self._rests_since_s = None
            return False
        if self._rests_since_s is None or now_s - self._rests_since_s >= REST_S + RELIEF_S:
            self._rests_since_s = now_s
        return now_s - self._rests_since_s < REST_S
