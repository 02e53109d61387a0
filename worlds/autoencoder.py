"""The tokenizer: pictures to latents and back, one frame at a time.

The encoder reads `[N, 3, h, w]` in [0, 1]; eight pixels to a latent cell each way. The decoder draws at twice that size, so a
128x80 input becomes a 256x160 picture. Latents are normalised to unit variance per channel by statistics kept in the weights.
No convolution runs at full resolution: the last layer is a pixel shuffle by four.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CELL_PX = 8  # encoder pixels per latent cell
UPSCALE = 2  # decoder pixels per encoder pixel


@dataclass(frozen=True, slots=True)
class AutoencoderConfig:
    """Shapes of encoder and decoder."""

    channels: int = 8  # of a latent cell
    encoder_widths: tuple[int, int] = (96, 160)  # at 1/4 and 1/8 of the input size
    decoder_widths: tuple[int, int, int] = (144, 80, 48)  # at 1/8, 1/4, 1/2 of the input size
    decoder_blocks: tuple[int, int, int] = (2, 2, 2)


class ResidualBlock(nn.Module):
    """x + conv(silu(conv(silu(x)))), the second convolution starts at zero."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.second(F.silu(self.first(F.silu(x))))
        return x + y


class Encoder(nn.Module):
    """`[N, 3, h, w]` in [0, 1] to `[N, C, h/8, w/8]`, not yet normalised."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        a, b = config.encoder_widths
        self.layers = nn.Sequential(
            nn.PixelUnshuffle(4),  # [N, 48, h/4, w/4]
            nn.Conv2d(48, a, 3, padding=1),
            ResidualBlock(a),
            ResidualBlock(a),
            nn.Conv2d(a, b, 2, stride=2),  # [N, b, h/8, w/8]
            ResidualBlock(b),
            ResidualBlock(b),
            nn.SiLU(),
            nn.Conv2d(b, config.channels, 3, padding=1),
        )

    def forward(self, rgb: Tensor) -> Tensor:
        out: Tensor = self.layers(rgb * 2 - 1)
        return out


class Decoder(nn.Module):
    """Normalised latents `[N, C, h/8, w/8]` to `[N, 3, 2h, 2w]`, about [0, 1], not clipped."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        a, b, c = config.decoder_widths
        n = config.decoder_blocks
        self.layers = nn.Sequential(
            nn.Conv2d(config.channels, a, 3, padding=1),
            *(ResidualBlock(a) for _ in range(n[0])),
            nn.Conv2d(a, 4 * b, 1),
            nn.PixelShuffle(2),  # 1/4
            *(ResidualBlock(b) for _ in range(n[1])),
            nn.Conv2d(b, 4 * c, 1),
            nn.PixelShuffle(2),  # 1/2
            *(ResidualBlock(c) for _ in range(n[2])),
            nn.SiLU(),
            nn.Conv2d(c, 48, 3, padding=1),
            nn.PixelShuffle(4),  # twice the size that the encoder reads
        )

    def forward(self, latents: Tensor) -> Tensor:
        out: Tensor = self.layers(latents)
        return out * 0.5 + 0.5


class Autoencoder(nn.Module):
    """Encoder, latent statistics, decoder."""

    mean: Tensor
    std: Tensor

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.register_buffer("mean", torch.zeros(config.channels))
        self.register_buffer("std", torch.ones(config.channels))

    def encode(self, rgb: Tensor) -> Tensor:
        """`[N, 3, h, w]` in [0, 1] to normalised latents `[N, C, h/8, w/8]`. h and w are multiples of 8."""
        if rgb.ndim != 4 or rgb.shape[1] != 3 or rgb.shape[2] % CELL_PX or rgb.shape[3] % CELL_PX:
            raise ValueError(f"pictures must be [N, 3, h, w] with h and w multiples of {CELL_PX}, got {tuple(rgb.shape)}")
        return (self.encoder(rgb) - self.mean[:, None, None]) / self.std[:, None, None]

    def encode_for_training(self, rgb: Tensor, momentum: float = 0.02) -> Tensor:
        """As `encode`, normalised by the batch itself; moves the kept statistics towards it (batch norm, no affine)."""
        raw = self.encoder(rgb)
        mean, var = raw.mean((0, 2, 3)), raw.var((0, 2, 3))
        with torch.no_grad():
            self.mean.lerp_(mean, momentum)
            self.std.lerp_(var.sqrt(), momentum)
        return (raw - mean[:, None, None]) * torch.rsqrt(var[:, None, None] + 1e-5)

    def decode(self, latents: Tensor) -> Tensor:
        """Normalised latents `[N, C, h/8, w/8]` to pictures `[N, 3, 2h, 2w]` in [0, 1]."""
        out: Tensor = self.decoder(latents)
        return out.clamp(0, 1)
