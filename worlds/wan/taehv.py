"""TAEHV: a tiny video autoencoder for the latents of a large one, at a fraction of its time and memory.

Plain 2D convolutions. Time is seen by the `MemBlock`s alone, each of which looks at its input one frame ago: one frame
per block is the whole state of a stream. Latents are read and written as the diffusion model draws them. Attributes are
named as in the published files (`taew2_1` and its relatives). Source: github.com/madebyollin/taehv (MIT), whose
pictures are [0, 1]; here they are [-1, 1], as the Wan autoencoder's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .codec import Past, Shape, StreamState, check_latents, check_rgb, four_to_one, opened

TIME = 1  # the dimension of time in [B, T, C, H, W]: frames are a batch to 2D convolutions
MEMORY_BLOCKS = 3  # of each of the three stages, at either end


@dataclass(frozen=True, slots=True)
class TAEHVDecoderState(StreamState):
    """The newest input `[B, 1, C, h, w]` of each of the 9 memory blocks of the decoder."""


@dataclass(frozen=True, slots=True)
class TAEHVEncoderState(StreamState):
    """The newest input `[B, 1, C, h, w]` of each of the 9 memory blocks of the encoder."""


@dataclass(frozen=True, slots=True)
class TAEHVConfig:
    """Shapes; the defaults are those of `taew2_1`, for the latents of Wan 2.1."""

    channels: int = 16  # of a latent cell
    patch: int = 1  # pixels each way that the outermost convolutions see as channels
    widths: tuple[int, int, int, int] = (256, 128, 64, 64)  # of the decoder, from the latents to the picture
    encoder_width: int = 64
    encoder_strides: tuple[int, int, int] = (2, 2, 1)  # of time, from the picture to the latents
    decoder_strides: tuple[int, int, int] = (1, 2, 2)

    def __post_init__(self) -> None:
        if math.prod(self.encoder_strides) != 4 or math.prod(self.decoder_strides) != 4:
            raise ValueError(
                "four frames make a latent, but the strides of time are "
                f"{self.encoder_strides} and {self.decoder_strides}; give strides whose product is 4"
            )

    @property
    def cell_px(self) -> int:
        return 8 * self.patch

    def decoder_caches(self, batch: int, rows: int, columns: int) -> list[Shape]:
        """Shapes of a `TAEHVDecoderState` for latents of `rows` x `columns` cells."""
        return [
            (batch, 1, self.widths[stage], rows << stage, columns << stage)
            for stage in range(3)
            for _ in range(MEMORY_BLOCKS)
        ]

    def encoder_caches(self, batch: int, height_px: int, width_px: int) -> list[Shape]:
        """Shapes of a `TAEHVEncoderState` for frames of this size, multiples of `cell_px`."""
        rows, columns = height_px // self.patch, width_px // self.patch
        return [
            (batch, 1, self.encoder_width, rows >> stage, columns >> stage)
            for stage in (1, 2, 3)
            for _ in range(MEMORY_BLOCKS)
        ]

    def decoder_state_bytes(self, height_px: int, width_px: int, value_bytes: int = 2) -> int:
        """Memory of one session's `TAEHVDecoderState`, before anything is loaded. 2 bytes a value are bfloat16."""
        cell = self.cell_px
        return value_bytes * sum(math.prod(s) for s in self.decoder_caches(1, height_px // cell, width_px // cell))


TAEW2_1 = TAEHVConfig()
TAEW2_2 = TAEHVConfig(channels=48, patch=2)  # for the latents of Wan 2.2 5B, 16 pixels to a cell
TAEHV1_5 = TAEHVConfig(channels=32, patch=2)  # for the latents of HunyuanVideo 1.5, 16 pixels to a cell


def conv(before: int, after: int, stride: int = 1, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=bias)


class SoftClamp(nn.Module):
    """Latents into (-3, 3)."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x / 3) * 3


class MemBlock(nn.Module):
    """A residual block over a frame and the one before it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(conv(2 * width, width), nn.ReLU(), conv(width, width), nn.ReLU(), conv(width, width))

    def forward(self, x: Tensor, before: Tensor) -> Tensor:
        return F.relu(self.conv(torch.cat([x, before], 1)) + x)


class TPool(nn.Module):
    """`stride` frames to one."""

    def __init__(self, width: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv2d(width * stride, width, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x.reshape(-1, self.stride * x.shape[1], *x.shape[2:]))


class TGrow(nn.Module):
    """One frame to `stride`. Loads weights for a longer stride too, and keeps the last frames of it.

    Published files have been trained to grow where `stride` is 1; upstream cuts them in the same way.
    """

    def __init__(self, width: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv2d(width, width * stride, 1, bias=False)
        self.register_load_state_dict_pre_hook(_last_frames)  # type: ignore[no-untyped-call]

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).reshape(-1, *x.shape[1:])


def _last_frames(module: nn.Module, weights: dict[str, Any], prefix: str, *_: object) -> None:
    assert isinstance(module, TGrow)
    key, needed = f"{prefix}conv.weight", module.conv.out_channels
    given = weights.get(key)
    if (
        isinstance(given, Tensor)
        and given.ndim == 4
        and len(given) > needed
        and len(given) % module.conv.in_channels == 0
    ):
        weights[key] = given[-needed:]


def _encoder(c: TAEHVConfig) -> nn.Sequential:
    wide = c.encoder_width
    layers: list[nn.Module] = [conv(3 * c.patch**2, wide), nn.ReLU()]
    for stride in c.encoder_strides:
        layers += [TPool(wide, stride), conv(wide, wide, stride=2, bias=False)]
        layers += [MemBlock(wide) for _ in range(MEMORY_BLOCKS)]
    return nn.Sequential(*layers, conv(wide, c.channels))


def _decoder(c: TAEHVConfig) -> nn.Sequential:
    layers: list[nn.Module] = [SoftClamp(), conv(c.channels, c.widths[0]), nn.ReLU()]
    for wide, after, stride in zip(c.widths[:-1], c.widths[1:], c.decoder_strides, strict=True):
        layers += [MemBlock(wide) for _ in range(MEMORY_BLOCKS)]
        layers += [nn.Upsample(scale_factor=2.0), TGrow(wide, stride), conv(wide, after, bias=False)]
    return nn.Sequential(*layers, nn.ReLU(), conv(c.widths[-1], 3 * c.patch**2))


def _walk(layers: nn.Sequential, x: Tensor, past: Past) -> Tensor:
    """Frames `[B, T, C, H, W]` through the layers; time may grow or shrink."""
    batch = len(x)
    x = x.flatten(0, 1)  # [B T, C, H, W]
    for layer in fewest_pixels_first(layers):
        if isinstance(layer, MemBlock):
            joined = past.join(x.unflatten(0, (batch, -1)))  # [B, 1 + T, C, H, W]
            x = layer(x, joined[:, :-1].flatten(0, 1))
        else:
            x = layer(x)
    return x.unflatten(0, (batch, -1))


def fewest_pixels_first(layers: nn.Sequential) -> Iterator[nn.Module]:
    """The layers in order, but time grows before the picture does: a 1x1 convolution of repeated pixels is the same."""
    waiting: nn.Module | None = None
    for layer in layers:
        if isinstance(layer, nn.Upsample):
            waiting = layer
            continue
        yield layer
        if waiting is not None and isinstance(layer, TGrow):
            yield waiting
            waiting = None
    assert waiting is None, "every Upsample is followed by a TGrow"


class TAEHV(nn.Module):
    """Encoder and decoder. No state: what a stream looks back on is given and returned. A `codec.VideoCodec`."""

    def __init__(self, config: TAEHVConfig = TAEW2_1) -> None:
        super().__init__()
        self.config = config
        self.encoder = _encoder(config)
        self.decoder = _decoder(config)

    @property
    def channels(self) -> int:
        return self.config.channels

    @property
    def cell_px(self) -> int:
        return self.config.cell_px

    def frames(self, before: int, latents: int) -> int:
        """4 for each latent, of which the first 3 of the stream are dropped: they stand for frames before it.

        Raises ValueError on a negative number.
        """
        return four_to_one(before, latents)

    def group(self, before: int) -> int:
        """How many frames make the next latent: 4, from the first one on."""
        return 4

    def decode(
        self, latents: Tensor, state: TAEHVDecoderState | None = None, *, reuse: bool = False
    ) -> tuple[Tensor, TAEHVDecoderState]:
        """Latents of the diffusion model `[B, C, T, h, w]` to rgb `[B, 3, frames, H, W]` in [-1, 1], in the network's
        type; H = h * `cell_px`.

        `state` is what the last call returned, None at the beginning of a stream. It is left as it is, and every
        snapshot is free; with `reuse` its tensors are written to instead. One latent is drawn after the other, so no
        tensor but the result grows with T. Raises ValueError on other shapes.
        """
        check_latents(latents, self.channels)
        batch, _, _, rows, columns = latents.shape
        shapes = self.config.decoder_caches(batch, rows, columns)
        weight = next(self.parameters())
        state, reuse = opened(TAEHVDecoderState, state, shapes, weight), reuse or state is None
        frames: list[Tensor] = []
        for latent in latents.to(weight.dtype).transpose(1, 2).split(1, TIME):  # [B, 1, C, h, w]
            past = Past(state.caches, TIME, first=not state.seen, reuse=reuse)
            drawn = _walk(self.decoder, latent, past)[:, -self.frames(state.seen, 1) :]
            rgb = F.pixel_shuffle(drawn, self.config.patch).clamp(0, 1)  # [B, F, 3, H, W]
            frames.append(rgb.transpose(1, 2) * 2 - 1)
            state, reuse = replace(state, caches=tuple(past.kept), seen=state.seen + 1), True
        return torch.cat(frames, 2), state

    def encode(
        self, rgb: Tensor, state: TAEHVEncoderState | None = None, *, reuse: bool = False
    ) -> tuple[Tensor, TAEHVEncoderState]:
        """rgb `[B, 3, 4T, H, W]` in [-1, 1] to latents for the diffusion model, float32 `[B, C, T, h, w]`.

        H and W are multiples of `cell_px`. A clip of 4T - 3 frames is completed by repeating its last frame. `state`
        and `reuse` are as for `decode`. Raises ValueError on other shapes.
        """
        check_rgb(rgb, self.cell_px)
        batch, _, count, height, width = rgb.shape
        if count % 4:
            raise ValueError(
                f"the encoder takes 4, 8, 12, … frames at a time, got {count}; repeat the last frame, or use "
                "CodecStream, which waits for whole groups"
            )
        shapes = self.config.encoder_caches(batch, height, width)
        weight = next(self.parameters())
        state, reuse = opened(TAEHVEncoderState, state, shapes, weight), reuse or state is None
        latents: list[Tensor] = []
        for group in rgb.transpose(1, 2).split(4, TIME):  # [B, 4, 3, H, W]
            past = Past(state.caches, TIME, first=not state.seen, reuse=reuse)
            x = F.pixel_unshuffle(group.to(weight.dtype) * 0.5 + 0.5, self.config.patch)
            latents.append(_walk(self.encoder, x, past).transpose(1, 2).float())
            state, reuse = replace(state, caches=tuple(past.kept), seen=state.seen + 1), True
        return torch.cat(latents, 2), state
