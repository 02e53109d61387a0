"""The noise schedule and the few-step loop.

Levels run from 1 (pure noise) to 0: a noisy latent is `(1 - s) * clean + s * noise`. The network predicts the clean
latent; an Euler step moves to the next level along the noise that this implies (DDIM with x-prediction).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

Denoise = Callable[[Tensor, float], tuple[Tensor, Tensor, Tensor]]
"""(noisy latent, level) -> (clean latent, keys, values)."""


def noisy(clean: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    """The latent at level `sigma` (broadcast over the trailing axes)."""
    sigma = sigma.view(*sigma.shape, *(1,) * (clean.ndim - sigma.ndim))
    return (1 - sigma) * clean + sigma * noise


def euler(z: Tensor, clean: Tensor, sigma: float | Tensor, to: float | Tensor) -> Tensor:
    """From level `sigma` to `to`, along the noise implied by `clean`. sigma > 0."""
    noise = (z - (1 - sigma) * clean) / sigma
    return (1 - to) * clean + to * noise


def sample(denoise: Denoise, noise: Tensor, steps: Sequence[float]) -> tuple[Tensor, Tensor, Tensor]:
    """Draw one frame from pure noise at the given levels (descending, the first is 1).

    Returns the clean latent and the keys and values of the last pass, which are committed as they are: one pass per
    level, none wasted.
    """
    if not steps or steps[0] != 1.0 or not all(a > b > 0 for a, b in pairwise(steps)):
        raise ValueError(f"steps must fall from 1.0 and stay above 0, got {tuple(steps)}")
    z = noise
    for sigma, to in pairwise(steps):
        z = euler(z, denoise(z, sigma)[0], sigma, to)
    return denoise(z, steps[-1])


def resample(
    denoise: Denoise, clean: Tensor, noise: Tensor, steps: Sequence[float], level: float
) -> tuple[Tensor, Tensor, Tensor]:
    """As `sample`, from `clean` made noisy up to `level` in (0, 1] (SDEdit, 2108.01073): through the steps below it."""
    if not 0 < level <= 1:
        raise ValueError(f"the level to draw from must be in (0, 1], got {level}")
    levels = [level, *(s for s in steps if s < level)]
    z = (1 - level) * clean + level * noise
    for sigma, to in pairwise(levels):
        z = euler(z, denoise(z, sigma)[0], sigma, to)
    return denoise(z, levels[-1])


def guided(denoise: Denoise, without: Denoise, scale: float) -> Denoise:
    """Classifier-free guidance (2207.12598): away from what would be drawn without the prompt, `scale` times as far."""

    def both(z: Tensor, sigma: float) -> tuple[Tensor, Tensor, Tensor]:
        clean, keys, values = denoise(z, sigma)
        plain, _, _ = without(z, sigma)
        return plain + scale * (clean - plain), keys, values

    return both


def draw_noise(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Unit normal noise where the generator lives: in play on the CPU, so that a seed means the same everywhere."""
    return torch.randn(tuple(shape), generator=generator, device=generator.device)
