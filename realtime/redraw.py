"""Reaching an exact moment of a walk: the nearest snapshot, then the recorded actions again, undecoded and unseen.

In slices, so that the worker hears its commands and can say how far it is.
"""

from __future__ import annotations

from collections.abc import Callable

from ..worlds.core import Player, World
from ..worlds.log_image import kept_image
from .timeline import Timeline


class Redraw:
    """On the way from the nearest snapshot to `timeline.now`, with its own player."""

    def __init__(self, world: World, timeline: Timeline) -> None:
        self._recording = timeline.path.recording
        self.start, state = timeline.nearest()
        self.at, self.target = self.start, timeline.now
        self.world = world
        self.player: Player = world.rollout()
        if state is None:
            header = self._recording.header
            image = kept_image(header, world)
            self.player.reset(header.seed, header.prompt, None if image is None else image.rgb)
        else:
            self.player.restore(state)

    @property
    def share(self) -> float:
        """Of the way, from 0 to 1."""
        return 1.0 if self.target == self.start else (self.at - self.start) / (self.target - self.start)

    def slice(self, clock: Callable[[], float], limit_s: float) -> bool:
        """Draw for about `limit_s`, one frame at least. True when the moment is reached."""
        until_s = clock() + limit_s
        while self.at < self.target:
            action, steps = self._recording.entry(self.at)
            self.world, self.player = at_steps(self.world, self.player, steps)
            for _ in self.player.step(action, decode=False):
                pass
            self.at += 1
            if clock() >= until_s:
                break
        return self.at == self.target


def at_steps(world: World, player: Player, steps: int) -> tuple[World, Player]:
    """The same walk at another number of denoising steps. Raises ValueError where the world cannot run at it."""
    if steps == world.steps:
        return world, player
    state, world = player.snapshot(), world.with_steps(steps)
    player = world.rollout()
    player.restore(state)
    return world, player
