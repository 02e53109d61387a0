"""The tokenizer: pictures to latents and back, one frame at a time.

The encoder reads `[N, 3, h, w]` in [0, 1]; eight pixels to a latent cell each way. The decoder draws at twice that
size, so a 128x80 input becomes a 256x160 picture. Latents are normalised per channel by statistics kept in the
weights. No convolution runs at full resolution: the last layer is a pixel shuffle by four.

The encoder is a linear map, the decoder a linear map plus a convolutional correction that starts at zero. `fit_linear`
sets both maps from data (principal components of 8x8 patches, and least squares back to 16x16 ones) in seconds: the
latents are final before the first gradient, and decoder and dynamics can train at the same time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

CELL_PX = 8  # encoder pixels per latent cell
UPSCALE = 2  # decoder pixels per encoder pixel


@dataclass(frozen=True, slots=True)
class AutoencoderConfig:
    """Shapes of encoder and decoder."""

    channels: int = 8  # of a latent cell
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


def _zero(layer: nn.Module) -> None:
    assert isinstance(layer, nn.Conv2d)
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


class Encoder(nn.Module):
    """`[N, 3, h, w]` in [0, 1] to `[N, C, h/8, w/8]`, not yet normalised: a projection of each 8x8 patch."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.linear = nn.Conv2d(3, config.channels, CELL_PX, stride=CELL_PX)

    def forward(self, rgb: Tensor) -> Tensor:
        out: Tensor = self.linear(rgb * 2 - 1)
        return out


class Decoder(nn.Module):
    """Normalised latents `[N, C, h/8, w/8]` to `[N, 3, 2h, 2w]`, about [0, 1], not clipped."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        a, b, c = config.decoder_widths
        n = config.decoder_blocks
        patch = CELL_PX * UPSCALE
        self.linear = nn.Sequential(nn.Conv2d(config.channels, 3 * patch**2, 3, padding=1), nn.PixelShuffle(patch))
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
        _zero(self.layers[-2])

    def forward(self, latents: Tensor) -> Tensor:
        out: Tensor = self.linear(latents) + self.layers(latents)
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
            raise ValueError(
                f"pictures must be [N, 3, h, w] with h and w multiples of {CELL_PX}, got {tuple(rgb.shape)}"
            )
        return (self.encoder(rgb) - self.mean[:, None, None]) / self.std[:, None, None]

    def decode(self, latents: Tensor) -> Tensor:
        """Normalised latents `[N, C, h/8, w/8]` to pictures `[N, 3, 2h, 2w]` in [0, 1]."""
        out: Tensor = self.decoder(latents)
        return out.clamp(0, 1)

    @torch.inference_mode()
    def encode_frame(self, rgb: NDArray[np.uint8]) -> Tensor:
        """A picture at the decoder's size, `uint8[2h, 2w, 3]`, to normalised latents `[1, C, h/8, w/8]`.

        Raises ValueError on another shape or type.
        """
        if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
            raise ValueError(f"a frame is uint8[H, W, 3], got {rgb.dtype}{list(rgb.shape)}")
        full = torch.from_numpy(rgb.astype(np.float32)).permute(2, 0, 1)[None] / 255
        return self.encode(F.avg_pool2d(full, UPSCALE)).clone()

    @torch.no_grad()
    def fit_linear(self, full: Tensor) -> None:
        """Set linear maps and statistics from pictures `[N, 3, 2h, 2w]` in [0, 1]; a few hundred are enough."""
        half = F.avg_pool2d(full, UPSCALE) * 2 - 1
        patches = F.unfold(half, CELL_PX, stride=CELL_PX).transpose(1, 2).flatten(0, 1)  # [M, 192]
        centre = patches.mean(0)
        _, _, basis = torch.linalg.svd((patches - centre)[:: max(1, len(patches) // 60_000)], full_matrices=False)
        keep = self.config.channels
        weight = basis[:keep]
        self.encoder.linear.weight.copy_(weight.view(keep, 3, CELL_PX, CELL_PX))
        assert self.encoder.linear.bias is not None
        self.encoder.linear.bias.copy_(-weight @ centre)
        scores = (patches - centre) @ weight.T
        self.mean.copy_(scores.mean(0))
        # Half-way to whitening: coarse channels stay stronger, so that they come out of the noise first. Unit power.
        deviation = scores.std(0)
        self.std.copy_(deviation.sqrt() * deviation.mean().sqrt())
        latents = self.encode(half * 0.5 + 0.5)
        rows = F.unfold(latents, 3, padding=1).transpose(1, 2).flatten(0, 1)  # [M, 9 C]
        rows = torch.cat([rows, torch.ones(len(rows), 1)], 1)
        patch = CELL_PX * UPSCALE
        target = F.pixel_unshuffle(full * 2 - 1, patch).flatten(2).transpose(1, 2).flatten(0, 1)  # [M, 3 patch^2]
        gram = rows.T @ rows + 1e-3 * len(rows) * torch.eye(rows.shape[1])
        solved = torch.linalg.solve(gram, rows.T @ target)  # [9 C + 1, 3 patch^2]
        layer = self.decoder.linear[0]
        assert isinstance(layer, nn.Conv2d)
        assert layer.bias is not None
        layer.weight.copy_(solved[:-1].T.reshape(layer.weight.shape))
        layer.bias.copy_(solved[-1])
