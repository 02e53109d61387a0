"""The layers of the Wan 2.1 autoencoder, `[B, C, T, H, W]` in and out. Those that look back take a `Past`."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .codec import Past


class RMSNorm(nn.Module):
    """Each pixel's channels to root mean square 1, times a learned gain."""

    def __init__(self, channels: int, spatial_dims: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(channels, *(1,) * spatial_dims))

    def forward(self, x: Tensor) -> Tensor:
        length = torch.linalg.vector_norm(x, dim=1, keepdim=True, dtype=torch.float32).clamp_min(1e-12)
        return x * (math.sqrt(x.shape[1]) / length).to(x.dtype) * self.gamma


def causal(before: int, after: int) -> nn.Conv3d:
    """A 3x3x3 convolution that pads in space alone; the past in front is `Past.join`'s."""
    return nn.Conv3d(before, after, 3, padding=(0, 1, 1))


def per_frame(layer: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """A layer over pictures, applied to each frame of `[B, C, T, H, W]`."""
    frames = x.transpose(1, 2)  # [B, T, C, H, W]
    y = layer(frames.flatten(0, 1))
    return y.unflatten(0, frames.shape[:2]).transpose(1, 2)


def walk(layers: nn.Sequential, x: Tensor, past: Past) -> Tensor:
    """Run layers one after the other; those that look back are given the past."""
    for layer in layers:
        if isinstance(layer, nn.Conv3d):
            x = layer(past.join(x))
        elif isinstance(layer, (ResidualBlock, Upsample, Downsample)):
            x = layer(x, past)
        else:
            x = layer(x)
    return x


class ResidualBlock(nn.Module):
    """x + conv(silu(norm(conv(silu(norm(x))))))."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            RMSNorm(before, 3),
            nn.SiLU(),
            causal(before, after),
            RMSNorm(after, 3),
            nn.SiLU(),
            nn.Identity(),  # dropout in training; it keeps the number of the layer behind it
            causal(after, after),
        )
        self.shortcut = nn.Identity() if before == after else nn.Conv3d(before, after, 1)

    def forward(self, x: Tensor, past: Past) -> Tensor:
        return self.shortcut(x) + walk(self.residual, x, past)


class AttentionBlock(nn.Module):
    """One head over the cells of each frame."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = RMSNorm(channels, 2)
        self.to_qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.proj = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + per_frame(self._attend, x)

    def _attend(self, x: Tensor) -> Tensor:
        q, k, v = self.to_qkv(self.norm(x)).flatten(2).transpose(1, 2).unsqueeze(1).chunk(3, -1)  # [N, 1, h w, C]
        y = F.scaled_dot_product_attention(q.contiguous(), k.contiguous(), v.contiguous())
        return self.proj(y.squeeze(1).transpose(1, 2).reshape(x.shape))


class Upsample(nn.Module):
    """Twice the height and width at half the channels; with `time`, two frames from each but the stream's first."""

    def __init__(self, channels: int, time: bool) -> None:
        super().__init__()
        self.resample = nn.Sequential(
            nn.Upsample(scale_factor=2.0, mode="nearest-exact"), nn.Conv2d(channels, channels // 2, 3, padding=1)
        )
        self.time_conv = nn.Conv3d(channels, 2 * channels, (3, 1, 1)) if time else None

    def forward(self, x: Tensor, past: Past) -> Tensor:
        if self.time_conv is not None:
            if past.first:
                past.skip()  # the first latent does not count as past here: the second sees zeros behind it
            else:
                pairs = self.time_conv(past.join(x)).unflatten(1, (2, x.shape[1]))  # [B, 2, C, T, h, w]
                x = pairs.permute(0, 2, 3, 1, 4, 5).flatten(2, 3)  # [B, C, 2T, h, w]
        return per_frame(self.resample, x)


class Downsample(nn.Module):
    """Half the height and width; with `time`, one frame from two, the stream's first by itself."""

    def __init__(self, channels: int, time: bool) -> None:
        super().__init__()
        self.resample = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(channels, channels, 3, stride=2))
        self.time_conv = nn.Conv3d(channels, channels, (3, 1, 1), stride=(2, 1, 1)) if time else None

    def forward(self, x: Tensor, past: Past) -> Tensor:
        x = per_frame(self.resample, x)
        if self.time_conv is None:
            return x
        if past.first:
            past.put(x)
            return x
        return self.time_conv(past.join(x))
