"""The newest frame as it would look from where the action leads: a first guess of the frame to be drawn.

A turn moves every point of the picture by an amount that needs no depth; a step moves near things more than far ones.
So the newest latent is turned into a small picture, a little network reads how near things are, the camera moves as the
action says (view synthesis by inverse warping with a learned depth, 1704.07813), and the result is a latent again. The
world network gets it on the channel axis beside the newest frames. Without it, a network in doubt copies the past and
stands still; with it, a network in doubt moves as told.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .autoencoder import CELL_PX, Autoencoder
from .conditioning import PITCH_SCALE_RAD, STEP_SCALE_M, TURN_SCALE_RAD
from .config import NetworkConfig

POINTS = 4  # of the small picture in a latent cell, each way
EYE_M = 1.6
SOFTNESS = 0.17  # of the horizon of the plain that depth starts from


class Reprojection(nn.Module):
    """Holds the linear maps between a latent cell and its POINTS x POINTS colours, and the network of depth."""

    colours: Tensor  # [C, 3 * POINTS^2]: latent cell to colours, about the mean colour
    latents: Tensor  # and back
    across: Tensor  # [h * POINTS, w * POINTS]: the picture's points on the image plane one metre ahead, right
    up: Tensor

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        c, points = config.channels, 3 * POINTS**2
        self.register_buffer("colours", torch.zeros(c, points))
        self.register_buffer("latents", torch.zeros(points, c))
        rows, columns = config.rows * POINTS, config.columns * POINTS
        self.reach = math.tan(config.view_rad / 2)  # the right edge on the image plane one metre ahead
        u = (2 * torch.arange(columns) + 1) / columns - 1
        v = 1 - (2 * torch.arange(rows) + 1) / rows
        self.register_buffer("across", (u * self.reach).expand(rows, columns).clone(), persistent=False)
        self.register_buffer("up", (v * self.reach * rows / columns)[:, None].repeat(1, columns), persistent=False)
        self.depth = nn.Sequential(
            nn.Conv2d(config.given * c + 1, 32, 3, padding=1), nn.SiLU(),
            nn.Conv2d(32, 32, 3, padding=1), nn.SiLU(),
            nn.Conv2d(32, 1, 3, padding=1),
        )  # fmt: skip
        last = self.depth[-1]
        assert isinstance(last, nn.Conv2d)
        assert last.bias is not None
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    @torch.no_grad()
    def fit(self, tokenizer: Autoencoder) -> None:
        """Take the linear maps from a fitted tokenizer: its encoder's at this picture's size, and their inverse."""
        size = CELL_PX // POINTS
        kernel = F.avg_pool2d(tokenizer.encoder.linear.weight, size)  # a colour here is the mean of size^2 pixels
        analysis = (kernel.flatten(1) * size**2 / tokenizer.std[:, None]).T
        self.latents.copy_(analysis)
        self.colours.copy_(torch.linalg.pinv(analysis))

    def inverse_depth(self, given: Tensor, rise: Tensor) -> Tensor:
        """1 / metres `[N, h, w]` along each cell's ray: a plain that the depth network raises and lowers.

        given `[N, G * C, h, w]`; rise `[N, h, w]`, the upward part of the rays' unit directions.
        """
        plain = ((rise.square() + SOFTNESS**2).sqrt() - rise) / (2 * EYE_M)
        scale: Tensor = self.depth(torch.cat([given, rise[:, None]], 1))[:, 0]
        return plain * (2 * torch.tanh(scale / 2)).exp()

    def source(self, given: Tensor, action: Tensor) -> Tensor:
        """Where in the newest frame each point of the next one lies, `[N, H, W, 2]` in [-1, 1] inside the picture."""
        right, forward = STEP_SCALE_M * action[:, 0], STEP_SCALE_M * action[:, 2]
        yaw, pitch = TURN_SCALE_RAD * action[:, 3], PITCH_SCALE_RAD * action[:, 5]
        before = pitch - TURN_SCALE_RAD * action[:, 4]
        right, forward, sy, cy, sp, cp, sb, cb = (
            x[:, None, None]
            for x in (right, forward, yaw.sin(), yaw.cos(), pitch.sin(), pitch.cos(), before.sin(), before.cos())
        )
        # unit rays of the new camera, turned level: x right, y up, z ahead
        n = (1 + self.across.square() + self.up.square()).rsqrt()
        x, y, z = self.across * n, (sp + self.up * cp) * n, (cp - self.up * sp) * n
        near = self.inverse_depth(given, F.avg_pool2d(y, POINTS))
        near = F.interpolate(near[:, None], scale_factor=float(POINTS), mode="bilinear", align_corners=False)[:, 0]
        x, z = x + right * near, z + forward * near  # from the old eye, in units of the distance
        x, z = x * cy + z * sy, z * cy - x * sy  # the old heading
        ahead = (z * cb + y * sb).clamp(min=0.05)
        u, v = x / ahead, (z * sb - y * cb) / ahead * (self.config.columns / self.config.rows)
        return torch.stack([u, v], -1) / self.reach

    def forward(self, given: Tensor, action: Tensor) -> Tensor:
        """given `[B, T, G, C, h, w]`, the newest last, and action `[B, T, A]` to moved latents `[B, T, C, h, w]`."""
        b, t = action.shape[:2]
        frames = given.flatten(0, 1)
        newest = frames[:, -1]
        colours = torch.einsum("nchw,cd->ndhw", newest, self.colours)
        picture = F.pixel_shuffle(colours, POINTS).float()
        where = self.source(frames.flatten(1, 2), action.flatten(0, 1)).float()
        moved = F.grid_sample(picture, where, mode="bicubic", padding_mode="border", align_corners=False)
        return torch.einsum("ndhw,dc->nchw", F.pixel_unshuffle(moved, POINTS), self.latents).unflatten(0, (b, t))
