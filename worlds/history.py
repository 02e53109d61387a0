"""The clean latents that every new frame is given on its channel axis: the anchor, then the newest frames.

`[B, 1, G, C, h, w]`, G = `NetworkConfig.given`. The newest frames say where everything was a moment ago; they are the
model's own, so its errors feed on themselves. The anchor is one frame that stays, the first of the world: palette,
light and theme are held to it (the frame sink of 2509.22622, on the channel axis instead of in the cache).
"""

from __future__ import annotations

import torch
from torch import Tensor

from .config import NetworkConfig, WorldConfig
from .sampler import draw_noise

COARSE = 3  # latent channels, the first ones, that hold a cell's brightness and colour


def begun(latent: Tensor, config: NetworkConfig) -> Tensor:
    """A world begins as if one had stood still in its first frame `[B, 1, C, h, w]`."""
    return latent[:, :, None].repeat(1, 1, config.given, 1, 1, 1)


def from_frames(frames: Tensor, config: NetworkConfig) -> Tensor:
    """From the frames so far `[B, K, C, h, w]`, at least `stack` of them: the oldest is the anchor."""
    newest = frames[:, -config.stack :]
    return torch.cat([frames[:, :1], newest] if config.anchor else [newest], 1)[:, None]


def pushed(given: Tensor, latent: Tensor, config: NetworkConfig) -> Tensor:
    """The newest frame `[B, 1, C, h, w]` comes, the oldest one but for the anchor goes."""
    first = int(config.anchor)
    return torch.cat([given[:, :, :first], given[:, :, first + 1 :], latent[:, :, None]], 2)


def held_to(given: Tensor, latent: Tensor, config: NetworkConfig) -> Tensor:
    """With another anchor `[B, 1, C, h, w]`."""
    return torch.cat([latent[:, :, None], given[:, :, 1:]], 2) if config.anchor else given


def detailed(given: Tensor, world: WorldConfig) -> Tensor:
    """The newest frames with their fine channels brought towards the anchor's strength, within `world.detail_gain`.

    A few steps draw a little less detail than they are given, and frame by frame a walk would fade into a blur. The
    gain is worked out anew for every frame from the newest one: where there is detail enough, none is added.
    """
    first, low_high = int(world.network.anchor), world.detail_gain
    fine = given[:, 0, :, COARSE:]
    if not first or not fine.shape[2]:
        return given
    strength = fine.square().mean((2, 3, 4)).sqrt()  # [B, G]
    gain = (world.detail_kept * strength[:, 0] / strength[:, -1].clamp(min=1e-3)).clamp(*low_high)
    out = given.clone()
    out[:, :, first:, COARSE:] *= gain.view(-1, 1, 1, 1, 1, 1)
    return out


def noised(given: Tensor, level: float | Tensor, generator: torch.Generator, config: NetworkConfig) -> Tensor:
    """Noise of deviation `level` (a number, or one a row) on the newest frames; the anchor stays clean."""
    first = int(config.anchor)
    newest = given[:, :, first:]
    if isinstance(level, Tensor):
        level = level.view(-1, 1, 1, 1, 1, 1)
    return torch.cat([given[:, :, :first], newest + level * draw_noise(newest.shape, generator)], 2)


def strayed(given: Tensor, config: NetworkConfig) -> Tensor:
    """How far the newest frame's colours are from the anchor's, row by row of the picture, `[B]`; 0 without an anchor.

    The mean difference of the three coarse channels' row means. On true walks it is 0.3 in the median, 0.65 at the
    90th percentile (another place looks different); in a walk that melts into stripes it passes 1.
    """
    if not config.anchor:
        return given.new_zeros(len(given))
    rows = (given[:, 0, -1, :COARSE] - given[:, 0, 0, :COARSE]).mean(-1)
    return rows.abs().mean((1, 2))


def doubt(given: Tensor, world: WorldConfig) -> Tensor:
    """The noise level of each row's newest frames, `[B]`: low while they can be believed."""
    far = strayed(given, world.network) > world.doubt_from
    return torch.where(far, world.doubt_noise, world.context_noise)
