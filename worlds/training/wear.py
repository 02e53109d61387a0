"""Histories as a long walk leaves them, made from true ones: a closed loop that long costs twenty times as much."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..history import COARSE
from ..sampler import draw_noise


def worn(history: Tensor, generator: torch.Generator, most: float = 0.5) -> Tensor:
    """`[B, T, C, h, w]` as a long walk leaves it: off in colour and gain, poor in detail, smeared; a row at a time.

    The target stays true and in its place. A model that has seen such histories pulls them back to what the prompt
    says; a closed loop long enough to make them costs twenty times as much.
    """
    b, _, c, h, w = history.shape
    device = generator.device

    def uniform() -> Tensor:
        return torch.rand(b, 1, 1, 1, 1, generator=generator, device=device)

    amount = most * uniform()
    colour = draw_noise((b, 1, c, 1, 1), generator)
    smooth = F.interpolate(draw_noise((b, c, 2, 3), generator), (h, w), mode="bilinear").unsqueeze(1)
    gain = 1 + 0.4 * amount * draw_noise((b, 1, 1, 1, 1), generator)
    detail = history.new_ones(b, 1, c, 1, 1)
    detail[:, :, COARSE:] = 0.4 + 0.8 * uniform()
    smear = 1.4 * (uniform() - 0.5).clamp(min=0)  # towards the stripes that a world without objects melts into
    changed = history + smear * (history.mean(-1, keepdim=True) - history)
    scale = history.std((0, 1, 3, 4), keepdim=True)
    return changed * gain * detail + amount * scale * (0.6 * colour + 0.6 * smooth)


def faded(history: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """`[B, T, C, h, w]` with a `share` of the rows poor in detail, the finest channels most, by up to a half.

    Moving a frame over the grid of cells costs it some detail, and few steps do not invent it again: a walk fades
    into a blur, unless the network has learned to give back what is lost.
    """
    b, _, c, _, _ = history.shape
    random = torch.rand(2, b, 1, 1, 1, 1, generator=generator, device=generator.device)
    fineness = torch.linspace(0.0, 1.0, c, device=generator.device).view(c, 1, 1)
    fineness[:COARSE] = 0  # giving back colour that was not lost saturates a world
    return history * (1 - 0.5 * (random[0] < share) * random[1] * fineness)
