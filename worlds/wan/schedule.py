"""Flow matching with a few steps: which noise levels a Wan-family model is run at, and how it moves between them.

A noisy latent is `(1 - s) * clean + s * noise`; the network predicts the velocity `noise - clean`. The shift
(2403.03206) crowds the levels towards noise. After every step but the last the clean estimate is made noisy again with
*fresh* noise (consistency sampling, 2303.01469), so a block's result depends on as many draws as there are steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ...kernels.scheduler_step import scheduler_step

TIMESTEPS = 1000
Velocity = Callable[[Tensor, float], Tensor]
"""(noisy latents, timestep in [0, 1000]) -> velocity of the same shape."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """The published numbers of one checkpoint.

    `steps` are as its configuration lists them, falling, without a closing 0. With `warp` they count places from the
    end of the shifted table; without it they are timesteps themselves. `first_steps` are for the first block where it
    is drawn with others (Causal-Forcing++).
    """

    steps: tuple[float, ...] = (1000, 750, 500, 250)
    shift: float = 5.0
    warp: bool = True
    first_steps: tuple[float, ...] = ()
    context_noise: float = 0.0  # timestep at which a clean block is shown to the cache

    def __post_init__(self) -> None:
        for steps in filter(None, (self.steps, self.first_steps)):
            if not all(a > b for a, b in pairwise(steps)) or not 0 < steps[-1] <= steps[0] <= TIMESTEPS:
                raise ValueError(f"steps must fall, from at most {TIMESTEPS}, and stay above 0; got {steps}")
        if not self.steps or self.shift <= 0:
            raise ValueError(f"a schedule needs steps and a shift above 0; got {self.steps} and {self.shift}")

    def table(self) -> NDArray[np.float64]:
        """The 1,000 shifted noise levels, falling from 1."""
        even = np.linspace(1.0, 0.0, TIMESTEPS + 1)[:-1]
        return self.shift * even / (1 + (self.shift - 1) * even)

    def timesteps(self, first_block: bool = False) -> tuple[float, ...]:
        """The timesteps that the network is really told, highest first."""
        steps = self.first_steps if first_block and self.first_steps else self.steps
        if not self.warp:
            return tuple(float(step) for step in steps)
        table = TIMESTEPS * self.table()
        return tuple(float(table[TIMESTEPS - round(step)]) for step in steps)

    def level(self, timestep: float) -> float:
        """The noise level of the table's timestep nearest to this one: what the samplers of the checkpoints use."""
        table = self.table()
        return float(table[np.abs(TIMESTEPS * table - timestep).argmin()])


def to_clean(noisy: Tensor, velocity: Tensor, level: float) -> Tensor:
    """The clean latents that a velocity implies; worked out in float64, returned as `noisy` is."""
    return (noisy.double() - level * velocity.double()).to(noisy.dtype)


def to_noisy(clean: Tensor, noise: Tensor, level: float) -> Tensor:
    """Clean latents at a noise level in [0, 1]."""
    return (1 - level) * clean + level * noise


def sample_block(
    velocity: Velocity, noise: Callable[[], Tensor], schedule: Schedule, first_block: bool = False
) -> Tensor:
    """One clean block from fresh noise. `noise` draws unit normal latents of the block's shape, once for each step."""
    first, *rest = schedule.timesteps(first_block)
    z = noise()
    clean = to_clean(z, velocity(z, first), schedule.level(first))
    for timestep in rest:
        z = to_noisy(clean, noise(), schedule.level(timestep))
        clean = to_clean(z, velocity(z, timestep), schedule.level(timestep))
    return clean


def sample_block_fused(
    velocity: Velocity, noise: Callable[[], Tensor], timesteps: Sequence[float], levels: Tensor
) -> Tensor:
    """The same with one kernel a step. `levels` float32 `[len(timesteps)]`, on the device: `Schedule.level` of each."""
    z = noise()
    for i, timestep in enumerate(timesteps):
        again = noise() if i + 1 < len(timesteps) else None
        clean, following = scheduler_step(z, velocity(z, timestep), levels[i : i + 2], again)
        z = clean if following is None else following
    return z
