"""Whole clips by the bidirectional models: from words, from a picture, and edits of a video by VACE.

Every latent frame attends to every other, for some fifty steps with classifier-free guidance (2207.12598): offline
work. The schedule is Wan 2.1's own: even levels from 1 towards 0, shifted (3 to 5 at 480p, 5 at 720p), Euler steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .attention import Context
from .schedule import TIMESTEPS
from .transformer import WanTransformer
from .vace import WanVace, control_latents

Told = Callable[[int, int], None]
"""Called after every step with (steps done, steps in all); an exception from it ends the work."""


@dataclass(frozen=True, slots=True)
class ClipSchedule:
    """How many steps, how crowded towards noise, how strongly the words are followed (1: as they are)."""

    steps: int = 50
    shift: float = 5.0
    guidance: float = 5.0

    def __post_init__(self) -> None:
        if not 1 <= self.steps <= TIMESTEPS or self.shift <= 0:
            raise ValueError(f"a clip takes 1 to {TIMESTEPS} steps and a shift above 0, got {self.steps}, {self.shift}")

    def levels(self) -> list[float]:
        """Noise levels, the last one 0: one more than steps."""
        even = [1.0 - i / self.steps for i in range(self.steps)]
        return [self.shift * level / (1 + (self.shift - 1) * level) for level in even] + [0.0]


@torch.no_grad()
def draw_clip(
    model: WanTransformer,
    noise: Tensor,
    words: Context,
    without: Context | None = None,
    schedule: ClipSchedule = ClipSchedule(),
    *,
    seen: Tensor | None = None,
    control: Tensor | None = None,
    told: Told = lambda done, of: None,
) -> Tensor:
    """Clean latents `[B, C, T, h, w]` of a clip from unit normal noise of that shape.

    `without` are the words to be guided away from; None draws without guidance. `seen` `[B, 20, T, h, w]` is the first
    picture as an image-to-video model is shown it (`start_picture.py`), `control` what VACE is. Raises ValueError on
    shapes that do not fit.
    """
    if control is not None and not isinstance(model, WanVace):
        raise ValueError("only VACE takes a control")
    levels, z = schedule.levels(), noise.float()

    def velocity(context: Context, level: float) -> Tensor:
        x = z if seen is None else torch.cat([z, seen.to(z)], 1)
        time = torch.full((len(z),), TIMESTEPS * level, device=z.device)
        if isinstance(model, WanVace):
            return model(x, time, context=context, control=control).float()
        return model(x, time, context=context).float()

    for i in range(schedule.steps):
        flow = velocity(words, levels[i])
        if without is not None and schedule.guidance != 1.0:
            plain = velocity(without, levels[i])
            flow = plain + schedule.guidance * (flow - plain)
        z = z + (levels[i + 1] - levels[i]) * flow
        told(i + 1, schedule.steps)
    return z


@torch.no_grad()
def edit_clip(
    model: WanVace,
    video: Tensor,
    encode: Callable[[Tensor], Tensor],
    words: Context,
    generator: torch.Generator,
    without: Context | None = None,
    schedule: ClipSchedule = ClipSchedule(),
    *,
    mask: Tensor | None = None,
    references: Sequence[Tensor] = (),
    told: Told = lambda done, of: None,
) -> Tensor:
    """Clean latents `[B, C, t, h, w]` of an edited video `[B, 3, 4t - 3, H, W]` in [-1, 1].

    mask `[B, 1, F, H, W]`: 1 is drawn anew, None all of it, by what the video shows (depth, pose, line drawing).
    references `[B, 3, H, W]`: pictures of what is to appear. `encode`: pictures to latents. Raises ValueError.
    """
    control = control_latents(video, encode, mask, references)
    shape = (control.shape[0], model.config.out_channels, *control.shape[2:])
    noise = torch.randn(shape, generator=generator, device=generator.device).to(video.device)
    drawn = draw_clip(model, noise, words, without, schedule, control=control, told=told)
    return drawn[:, :, len(references) :]
