"""The Wan 2.1 video autoencoder: 8x8 pixels to a latent cell, four frames to a latent, the first frame one by itself.

Every convolution over time looks back only, so a clip can be drawn latent by latent: the newest inputs of each such
layer are all that the next latent needs. They are a `VAEDecoderState` or `VAEEncoderState` in the caller's hands.
Attributes are named as in the published `Wan2.1_VAE.pth`. Source: arXiv 2503.20314, section 4.1, and the public code
Wan-Video/Wan2.1 (Apache-2.0). Tested against `diffusers.AutoencoderKLWan`.

The diffusion model draws latents of about unit size. Here they are scaled to what the network was trained on and
back: `normalise` and `denormalise`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor, nn

from .codec import Past, Shape, StreamState, check_latents, check_rgb, four_to_one, opened
from .vae_layers import AttentionBlock, Downsample, ResidualBlock, RMSNorm, Upsample, causal, walk

# Mean and standard deviation of each latent channel over the training data of Wan 2.1, as published with the weights.
LATENT_MEAN = (
    -0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508,
    0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921,
)  # fmt: skip
LATENT_STD = (
    2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743,
    3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160,
)  # fmt: skip
CHANNELS = len(LATENT_MEAN)
TIME = 2  # the dimension of time in [B, C, T, H, W]

Kind = Literal["residual", "up", "up_time", "down", "down_time"]
Layer = tuple[Kind, int, int]  # what, channels in, channels out


@lru_cache(maxsize=16)
def _statistics(device: torch.device) -> tuple[Tensor, Tensor]:
    with torch.inference_mode(False):  # usable in either mode; made once, so that no call waits for a copy to the GPU
        mean, std = (torch.tensor(x, device=device).view(1, CHANNELS, 1, 1, 1) for x in (LATENT_MEAN, LATENT_STD))
    return mean, std


def normalise(latents: Tensor) -> Tensor:
    """The network's latents `[B, 16, T, h, w]` as the diffusion model sees them, of about unit size. In float32."""
    mean, std = _statistics(latents.device)
    return (latents.float() - mean) / std


def denormalise(latents: Tensor) -> Tensor:
    """The inverse of `normalise`. In float32."""
    mean, std = _statistics(latents.device)
    return latents.float() * std + mean


@dataclass(frozen=True, slots=True)
class VAEDecoderState(StreamState):
    """Two past frames `[B, C, 2, h, w]` of each of the 32 causal convolutions of the decoder, as published."""


@dataclass(frozen=True, slots=True)
class VAEEncoderState(StreamState):
    """Two past frames of each of the 22 causal convolutions of the encoder, one of each of the two that halve time."""


@dataclass(frozen=True, slots=True)
class VAEConfig:
    """Shapes; the defaults are those of the published weights. Raises ValueError on other numbers of stages."""

    width: int = 96  # channels at full resolution
    multipliers: tuple[int, ...] = (1, 2, 4, 4)  # of the width at each stage; between two stages height and width halve
    blocks: int = 2  # residual blocks of an encoder stage; a decoder stage has one more
    time_down: tuple[bool, ...] = (False, True, True)  # whether time halves as well

    def __post_init__(self) -> None:
        if len(self.multipliers) != 4 or len(self.time_down) != 3 or sum(self.time_down) != 2:
            raise ValueError(
                "a Wan autoencoder has 4 stages and halves time twice between them, got multipliers "
                f"{self.multipliers} and time_down {self.time_down}; give 4 multipliers and 3 flags, two of them true"
            )

    def encoder_layers(self) -> Iterator[Layer]:
        """`encoder.downsamples` from first to last."""
        wide = self.width
        for stage, multiplier in enumerate(self.multipliers):
            for _ in range(self.blocks):
                yield "residual", wide, self.width * multiplier
                wide = self.width * multiplier
            if stage < len(self.time_down):
                yield "down_time" if self.time_down[stage] else "down", wide, wide

    def decoder_layers(self) -> Iterator[Layer]:
        """`decoder.upsamples` from first to last. Each upsampling halves the channels."""
        wide = self.width * self.multipliers[-1]
        for stage, multiplier in enumerate(reversed(self.multipliers)):
            for _ in range(self.blocks + 1):
                yield "residual", wide, self.width * multiplier
                wide = self.width * multiplier
            if stage < len(self.time_down):
                yield "up_time" if self.time_down[-1 - stage] else "up", wide, wide // 2
                wide //= 2

    def decoder_caches(self, batch: int, rows: int, columns: int) -> list[Shape]:
        """Shapes of a `VAEDecoderState` for latents of `rows` x `columns` cells."""
        wide = self.width * self.multipliers[-1]
        size = (2, rows, columns)
        shapes = [(batch, CHANNELS, *size)] + [(batch, wide, *size)] * 4
        for kind, before, after in self.decoder_layers():
            if kind == "residual":
                shapes += [(batch, before, *size), (batch, after, *size)]
                continue
            if kind == "up_time":
                shapes.append((batch, before, *size))
            size = (2, 2 * size[1], 2 * size[2])
        return [*shapes, (batch, self.width, *size)]

    def encoder_caches(self, batch: int, height_px: int, width_px: int) -> list[Shape]:
        """Shapes of a `VAEEncoderState` for frames of this size, multiples of 8 pixels."""
        wide = self.width * self.multipliers[-1]
        size = (2, height_px, width_px)
        shapes: list[Shape] = [(batch, 3, *size)]
        for kind, before, after in self.encoder_layers():
            if kind == "residual":
                shapes += [(batch, before, *size), (batch, after, *size)]
                continue
            size = (2, size[1] // 2, size[2] // 2)
            if kind == "down_time":
                shapes.append((batch, before, 1, *size[1:]))
        return [*shapes, *[(batch, wide, *size)] * 5]

    def decoder_state_bytes(self, height_px: int, width_px: int, value_bytes: int = 2) -> int:
        """Memory of one session's `VAEDecoderState`, before anything is loaded. 2 bytes a value are bfloat16."""
        return value_bytes * sum(math.prod(shape) for shape in self.decoder_caches(1, height_px // 8, width_px // 8))


def _built(layers: Iterator[Layer]) -> nn.Sequential:
    def build(kind: Kind, before: int, after: int) -> nn.Module:
        if kind == "residual":
            return ResidualBlock(before, after)
        if kind in ("up", "up_time"):
            return Upsample(before, time=kind == "up_time")
        return Downsample(before, time=kind == "down_time")

    return nn.Sequential(*(build(*layer) for layer in layers))


class _Coder(nn.Module):
    """What encoder and decoder share: convolution, stages with the middle before or after them, head."""

    conv1: nn.Conv3d
    middle: nn.Sequential
    head: nn.Sequential

    @staticmethod
    def _middle(channels: int) -> nn.Sequential:
        return nn.Sequential(
            ResidualBlock(channels, channels), AttentionBlock(channels), ResidualBlock(channels, channels)
        )

    @staticmethod
    def _head(channels: int, out: int) -> nn.Sequential:
        return nn.Sequential(RMSNorm(channels, 3), nn.SiLU(), causal(channels, out))


class Encoder(_Coder):
    """The first frame, or four later ones, `[B, 3, 1 or 4, H, W]`, to mean and log-variance `[B, 32, 1, H/8, W/8]`."""

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        wide = config.width * config.multipliers[-1]
        self.conv1 = causal(3, config.width)
        self.downsamples = _built(config.encoder_layers())
        self.middle = self._middle(wide)
        self.head = self._head(wide, 2 * CHANNELS)

    def forward(self, x: Tensor, past: Past) -> Tensor:
        x = self.conv1(past.join(x))
        for layers in (self.downsamples, self.middle, self.head):
            x = walk(layers, x, past)
        return x


class Decoder(_Coder):
    """One latent `[B, 16, 1, h, w]` to `[B, 3, 1 or 4, 8h, 8w]`."""

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        wide = config.width * config.multipliers[-1]
        self.conv1 = causal(CHANNELS, wide)
        self.middle = self._middle(wide)
        self.upsamples = _built(config.decoder_layers())
        self.head = self._head(config.width, 3)

    def forward(self, x: Tensor, past: Past) -> Tensor:
        x = self.conv1(past.join(x))
        for layers in (self.middle, self.upsamples, self.head):
            x = walk(layers, x, past)
        return x


class WanVAE(nn.Module):
    """Encoder and decoder. No state: what a stream looks back on is given and returned. A `codec.VideoCodec`."""

    channels = CHANNELS
    cell_px = 8

    def __init__(self, config: VAEConfig | None = None) -> None:
        super().__init__()
        self.config = config or VAEConfig()
        self.encoder = Encoder(self.config)
        self.conv1 = nn.Conv3d(2 * CHANNELS, 2 * CHANNELS, 1)
        self.conv2 = nn.Conv3d(CHANNELS, CHANNELS, 1)
        self.decoder = Decoder(self.config)

    def frames(self, before: int, latents: int) -> int:
        """1 for the first latent of a stream, 4 for each later one. Raises ValueError on a negative number."""
        return four_to_one(before, latents)

    def group(self, before: int) -> int:
        """How many frames make the next latent: 1 at first, then 4."""
        return 4 if before else 1

    def decode(
        self, latents: Tensor, state: VAEDecoderState | None = None, *, reuse: bool = False
    ) -> tuple[Tensor, VAEDecoderState]:
        """Latents of the diffusion model `[B, 16, T, h, w]` to rgb `[B, 3, frames, 8h, 8w]` in [-1, 1], in the
        network's type.

        `state` is what the last call returned, None at the beginning of a stream. It is left as it is, and every
        snapshot is free; with `reuse` its tensors are written to instead, which takes half the memory. One latent is
        drawn after the other, so no tensor but the result grows with T. Raises ValueError on other shapes.
        """
        check_latents(latents, CHANNELS)
        batch, _, _, rows, columns = latents.shape
        shapes = self.config.decoder_caches(batch, rows, columns)
        weight = self.conv2.weight
        state, reuse = opened(VAEDecoderState, state, shapes, weight), reuse or state is None
        frames: list[Tensor] = []
        for latent in latents.split(1, TIME):
            past = Past(state.caches, TIME, first=not state.seen, reuse=reuse)
            x = self.conv2(denormalise(latent).to(weight.dtype))
            frames.append(self.decoder(x, past).clamp_(-1, 1))
            state, reuse = replace(state, caches=tuple(past.kept), seen=state.seen + 1), True
        return torch.cat(frames, TIME), state

    def encode(
        self, rgb: Tensor, state: VAEEncoderState | None = None, *, reuse: bool = False
    ) -> tuple[Tensor, VAEEncoderState]:
        """rgb `[B, 3, F, H, W]` in [-1, 1] to the most likely latents of about unit size, float32 `[B, 16, T, h, w]`.

        The first call of a stream (`state` None) takes 1, 5, 9, … frames, later ones 4, 8, …; H and W are multiples
        of 8. `state` and `reuse` are as for `decode`. Raises ValueError on other shapes.
        """
        check_rgb(rgb, self.cell_px)
        batch, _, count, height, width = rgb.shape
        seen = 0 if state is None else state.seen
        if (count - self.group(seen)) % 4:
            expected = "4, 8, 12, … frames at a time once begun" if seen else "1, 5, 9, … frames at first"
            raise ValueError(
                f"the encoder takes {expected}, got {count}; repeat the last frame, or use CodecStream, which "
                "waits for whole groups"
            )
        shapes = self.config.encoder_caches(batch, height, width)
        weight = self.conv1.weight
        state, reuse = opened(VAEEncoderState, state, shapes, weight), reuse or state is None
        latents: list[Tensor] = []
        sizes = [self.group(seen)] + [4] * ((count - self.group(seen)) // 4)
        for group in rgb.split(sizes, TIME):
            past = Past(state.caches, TIME, first=not state.seen, reuse=reuse)
            mean = self.conv1(self.encoder(group.to(weight.dtype), past))[:, :CHANNELS]
            latents.append(normalise(mean))
            state, reuse = replace(state, caches=tuple(past.kept), seen=state.seen + 1), True
        return torch.cat(latents, TIME), state
