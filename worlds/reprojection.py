"""The newest frame as it would look from where the action leads: a first guess of the frame to be drawn.

A turn moves every point of the picture by an amount that needs no depth; a step moves near things more than far ones.
So the newest latent is turned into a small picture, a little network reads how near things are, the camera moves as the
action says (view synthesis by inverse warping with a learned depth, 1704.07813), and the result is a latent again. The
world network gets it on the channel axis beside the newest frames. Without it, a network in doubt copies the past and
stands still; with it, a network in doubt moves as told.

A frame that was drawn long ago, of a place that comes into view again, is brought here the same way: see memory.py.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .autoencoder import CELL_PX, Autoencoder
from .conditioning import PITCH_SCALE_RAD, STEP_SCALE_M, TURN_SCALE_RAD
from .config import NetworkConfig

POINTS = 4  # of the small picture in a latent cell, each way
EYE_M = 1.6
SOFTNESS = 0.17  # of the horizon of the plain that depth starts from


class View(NamedTuple):
    """The rays of a frame to be drawn: unit directions, turned level (x right, y up, z ahead), and what they meet."""

    x: Tensor  # [H, W] at one pitch, or [N, H, W]
    y: Tensor
    z: Tensor
    near: Tensor  # [N, H, W] 1 / metres


class Places(NamedTuple):
    """Remembered frames for every frame to be drawn, best first: see memory.py. N is B * T, M the places."""

    pictures: Tensor  # [B, T, M, 3, h * POINTS, w * POINTS] as `Reprojection.pictures` makes them
    poses: Tensor  # [B, T, M, 4]: right, forward (m), yaw (rad) from there to here; the pitch (rad) there
    known: Tensor  # [B, T, M] 1, or 0 where fewer places are remembered
    fills: Tensor  # [B, T, M] 1 where a place may show only what the newest frame cannot see


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

    def pictures(self, latents: Tensor) -> Tensor:
        """Latents `[N, C, h, w]` as small pictures `[N, 3, h * POINTS, w * POINTS]`, about the mean colour."""
        return F.pixel_shuffle(torch.einsum("nchw,cd->ndhw", latents, self.colours), POINTS)

    def inverse_depth(self, given: Tensor, rise: Tensor) -> Tensor:
        """1 / metres `[N, h, w]` along each cell's ray: a plain that the depth network raises and lowers.

        given `[N, G * C, h, w]`; rise `[N, h, w]`, the upward part of the rays' unit directions.
        """
        plain = ((rise.square() + SOFTNESS**2).sqrt() - rise) / (2 * EYE_M)
        scale: Tensor = self.depth(torch.cat([given, rise[:, None]], 1))[:, 0]
        return plain * (2 * torch.tanh(scale / 2)).exp()

    def view(self, given: Tensor, pitch_rad: Tensor) -> View:
        """What the frame to be drawn looks along, and how near things are there. given `[N, G * C, h, w]`."""
        sp, cp = pitch_rad.sin()[:, None, None], pitch_rad.cos()[:, None, None]
        n = (1 + self.across.square() + self.up.square()).rsqrt()
        x, y, z = self.across * n, (sp + self.up * cp) * n, (cp - self.up * sp) * n
        near = self.inverse_depth(given, F.avg_pool2d(y, POINTS))
        near = F.interpolate(near[:, None], scale_factor=float(POINTS), mode="bilinear", align_corners=False)[:, 0]
        return View(x, y, z, near)

    def source(self, view: View, pose: Tensor) -> tuple[Tensor, Tensor]:
        """Where in an older frame each point of the view lies, `[N, H, W, 2]` in [-1, 1] inside the picture, and
        whether it lies inside, `[N, H, W]`.

        pose `[N, 4]`: how the camera has moved since that frame, right and forward in metres along the new heading and
        yaw in radians, and the pitch that frame was seen at. Heights do not differ: a walker's eye is over the ground.
        """
        right, forward, yaw, before = (x[:, None, None] for x in pose.unbind(-1))
        x, z = view.x + right * view.near, view.z + forward * view.near  # from the old eye, in units of the distance
        x, z = x * yaw.cos() + z * yaw.sin(), z * yaw.cos() - x * yaw.sin()  # the old heading
        depth = z * before.cos() + view.y * before.sin()
        ahead = depth.clamp(min=0.05)
        u = x / ahead / self.reach
        v = (z * before.sin() - view.y * before.cos()) / ahead / self.reach * (self.config.columns / self.config.rows)
        inside = (depth > 0.05) & (u.abs() < 1) & (v.abs() < 1)
        return torch.stack([u, v], -1), inside

    def forward(self, given: Tensor, action: Tensor, places: Places | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """given `[B, T, G, C, h, w]`, the newest last, action `[B, T, A]` and what is remembered, to the newest frame
        and the remembered ones as seen from where the action leads.

        Returns (moved `[B, T, C, h, w]`, recalled `[B, T, C, h, w]`, cover `[B, T, 1, h, w]`): where a cell of the
        recalled frame is not covered by any place, cover and latent are 0.
        """
        b, t = action.shape[:2]
        frames, told = given.flatten(0, 1), action.flatten(0, 1)
        pitch = PITCH_SCALE_RAD * told[:, 5]
        view = self.view(frames.flatten(1, 2), pitch)
        step = torch.stack(
            [
                STEP_SCALE_M * told[:, 0],
                STEP_SCALE_M * told[:, 2],
                TURN_SCALE_RAD * told[:, 3],
                pitch - TURN_SCALE_RAD * told[:, 4],
            ],
            -1,
        )
        where, inside = self.source(view, step)
        moved = self.latents_of(warped(self.pictures(frames[:, -1]), where))
        recalled, cover = torch.zeros_like(moved), moved.new_zeros(b * t, 1, *moved.shape[2:])
        if places is not None:
            recalled, cover = self.recall(view, places, inside)
        return moved.unflatten(0, (b, t)), recalled.unflatten(0, (b, t)), cover.unflatten(0, (b, t))

    def recall(self, view: View, places: Places, seen: Tensor) -> tuple[Tensor, Tensor]:
        """One frame `[N, C, h, w]` from the remembered ones, the first that shows a point wins, and its cover.

        seen `[N, H, W]`: what the newest frame shows.
        """
        pictures, poses, known, fills = (x.flatten(0, 1) for x in places)
        shown = torch.zeros_like(pictures[:, 0])
        covered = view.near.new_zeros(view.near.shape)
        for m in range(pictures.shape[1]):
            where, inside = self.source(view, poses[:, m])
            new = inside * known[:, m, None, None] * (1 - covered) * (1 - fills[:, m, None, None] * seen)
            shown = shown + new[:, None] * warped(pictures[:, m], where)
            covered = covered + new
        cover = F.avg_pool2d(covered[:, None], POINTS)
        # a cell that is covered in part is as bright as its covered part
        cells = F.interpolate(cover.clamp(min=0.1), scale_factor=float(POINTS))
        return self.latents_of(shown / cells) * (cover > 0.1), cover

    def latents_of(self, pictures: Tensor) -> Tensor:
        """Small pictures `[N, 3, H, W]` to latents `[N, C, h, w]`."""
        return torch.einsum("ndhw,dc->nchw", F.pixel_unshuffle(pictures, POINTS), self.latents)


def warped(pictures: Tensor, where: Tensor) -> Tensor:
    """Pictures `[N, 3, H, W]` looked up at `where` `[N, H, W, 2]`; bicubic, since every frame is moved again."""
    return F.grid_sample(pictures.float(), where.float(), mode="bicubic", padding_mode="border", align_corners=False)
