"""Brings a walk that has strayed back to the world that was asked for, without a cut.

The newest frame is made noisy and drawn again by the prompt alone, as first frames are, with guidance: what lies where
stays, what has melted becomes things again (SDEdit, 2108.01073). One noise level a video frame, two passes each, so
that no frame is late; meanwhile the picture is moved along as the walker moves. Then the walk takes it over: over some
frames the newest latents are mixed with it, a little more each time, while they are doubted.

B walks advance together; each has its own clock. `Rollout` is a batch of one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .conditioning import MISSING
from .config import WorldConfig
from .drift import FINE, LOST, STRAYING, VERDICTS, Gauge, Sight, looked
from .kv_cache import KVCache
from .reprojection import Reprojection
from .sampler import draw_noise

IDLE = -1
MOST_SHARE = 0.25  # of the new picture in one frame's mix: more would be seen as a cut

Words = tuple[Tensor, Tensor]
Step = Callable[[tuple[Tensor, ...]], tuple[Tensor, Tensor, Tensor]]
"""`Engine.step`."""

Blank = Callable[[Tensor, Tensor], Tensor]
"""(noisy latent `[B, 1, C, h, w]`, its levels `[B, 1]`) -> the clean one, as the prompt alone has it, guided."""


@dataclass(frozen=True, slots=True)
class Repaint:
    """The pictures that B walks are brought back with. Replaced, never changed."""

    clock: Tensor  # int64 [B]: IDLE, or frames since a drawing that began at level 1 would have begun
    clean: Tensor  # [B, 1, C, h, w] the picture that is being drawn, then taken over
    noise: Tensor  # [B, 1, C, h, w] that it is drawn from


@dataclass(frozen=True, slots=True)
class Standing:
    """Everything that decides what is done next. Replaced, never changed: a snapshot may keep it."""

    frames: int = 0  # since the world began or was given another anchor
    sight: Sight | None = None
    repaint: Repaint | None = None
    count: int = 0  # how often any walk was brought back


class Keeper:
    """Looks after B walks of one world."""

    def __init__(self, config: WorldConfig, gauge: Gauge, reprojection: Reprojection | None) -> None:
        self._world, self._config, self._gauge, self._reprojection = config, config.drift, gauge, reprojection
        self._levels = torch.tensor(config.first_steps)
        begin = {STRAYING: config.drift.repaint_from, LOST: config.drift.lost_from}
        self._from = {
            verdict: sum(level > highest for level in config.first_steps) for verdict, highest in begin.items()
        }
        self.standing = Standing()

    def begin(self) -> None:
        """A new world, or a new anchor."""
        self.standing = Standing(count=self.standing.count)

    @property
    def verdict(self) -> str:
        """Of the first walk: fine, straying or lost."""
        sight = self.standing.sight
        return VERDICTS[FINE if sight is None else int(sight.verdict[0])]

    def doubt(self, level: Tensor) -> Tensor:
        """At least the noise level `[B]` that the newest frames deserve while another picture is taken over."""
        if self.standing.repaint is None:
            return level
        left = self._left(self.standing.repaint)
        fading = (left > 0) & (left <= self._config.fade)
        return torch.where(fading, level.clamp(min=self._config.doubt), level)

    @property
    def unsure(self) -> Tensor | None:
        """Bool `[B]`: walks on their way to another picture, whose frames are not worth remembering. None: no walk."""
        repaint = self.standing.repaint
        return None if repaint is None else (repaint.clock != IDLE) & (self._left(repaint) > 0)

    def after(self, given: Tensor, action: Tensor, blank: Blank, generator: torch.Generator) -> Tensor:
        """The latents that the next frame is given, after a frame that `action` `[B, 1, A]` led to was pushed."""
        s = self.standing
        if s.repaint is not None and bool((s.repaint.clock != IDLE).any()):
            repaint = self._advanced(s.repaint, given, action, blank)
            given = self._mixed(given, repaint)
            over = self._left(repaint) + self._config.rest <= 1
            clock = torch.where((repaint.clock == IDLE) | over, IDLE, repaint.clock + 1)
            s = replace(s, repaint=replace(repaint, clock=clock))
        if s.frames % self._config.every == 0:  # the first time, to know the anchor
            sight = looked(s.sight, self._gauge, given[:, 0, 0], given[:, 0, -1], self._config)
            s = self._started(replace(s, sight=sight), sight, given[:, :, -1], generator)
        self.standing = replace(s, frames=s.frames + 1)
        return given

    def _left(self, repaint: Repaint) -> Tensor:
        """Frames until the picture is taken over, `[B]`; at most `fade` once it is drawn."""
        return len(self._levels) + self._config.fade - repaint.clock

    def _started(self, s: Standing, sight: Sight, newest: Tensor, generator: torch.Generator) -> Standing:
        """Begin with the walks that have strayed and are not being looked after yet."""
        idle = torch.full_like(sight.verdict, IDLE)
        old = s.repaint or Repaint(idle, torch.zeros_like(newest), torch.zeros_like(newest))
        new = (sight.verdict != FINE) & (old.clock == IDLE)
        if not bool(new.any()):
            return s
        begin = torch.where(sight.verdict == LOST, self._from[LOST], self._from[STRAYING])
        repaint = Repaint(
            torch.where(new, begin, old.clock),
            _where(new, newest, old.clean),
            _where(new, draw_noise(newest.shape, generator), old.noise),
        )
        return replace(s, repaint=repaint, count=s.count + int(new.sum()))

    def _advanced(self, r: Repaint, given: Tensor, action: Tensor, blank: Blank) -> Repaint:
        """One video frame further: the picture moves along, and is drawn at its next noise level."""
        clean, noise, levels = r.clean, r.noise, self._levels
        if self._reprojection is not None and bool(((r.clock != IDLE) & (self._left(r) > 0)).any()):
            clean, _, _ = self._reprojection(torch.cat([given[:, :, :-1], clean[:, :, None]], 2), action)
        drawing = (r.clock != IDLE) & (r.clock < len(levels))
        if bool(drawing.any()):
            level = levels[r.clock.clamp(0, len(levels) - 1)].view(-1, 1, 1, 1, 1)
            z = (1 - level) * clean + level * noise
            drawn = blank(z, level.view(-1, 1))
            noise = _where(drawing, (z - (1 - level) * drawn) / level, noise)
            clean = _where(drawing, drawn, clean)
        return replace(r, clean=clean, noise=noise)

    def _mixed(self, given: Tensor, r: Repaint) -> Tensor:
        """The newest latents a little nearer to the picture that is taken over."""
        first, left = int(self._world.network.anchor), self._left(r)
        share = (1 / left.clamp(min=1)).clamp(max=MOST_SHARE)
        share = torch.where((left > 0) & (left <= self._config.fade), share, 0.0)
        mixed = given + share.view(-1, 1, 1, 1, 1, 1) * (r.clean[:, :, None] - given)
        mixed = _where(share > 0, mixed, given)  # the old picture of a walk that is left alone may be anything by now
        return torch.cat([given[:, :, :first], mixed[:, :, first:]], 2)


def from_prompt(step: Step, config: WorldConfig, cache: KVCache, asked: Words, nothing: Words) -> Blank:
    """How `step` draws without any history. `asked` and `nothing` are (pooled, words) of the prompt and of none."""

    def blank(z: Tensor, sigma: Tensor) -> Tensor:
        seen = z.new_zeros(len(z), 1, config.network.seen, *z.shape[2:])
        action = z.new_zeros(len(z), 1, config.network.action_size)
        label, hidden = torch.full_like(sigma, MISSING), z.new_full((cache.window * cache.tokens,), float("-inf"))

        def clean(words: Words) -> Tensor:
            return step((z, seen, sigma, label, action, *words, cache.keys, cache.values, hidden))[0]

        drawn, scale = clean(asked), config.first_guidance
        if scale == 1.0:
            return drawn
        plain = clean(nothing)
        return plain + scale * (drawn - plain)

    return blank


def _where(rows: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Row by row."""
    return torch.where(rows.view(-1, *(1,) * (a.ndim - 1)), a, b)
