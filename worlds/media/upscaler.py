"""A small network that doubles a picture: what plain resampling blurs, it draws sharp where it has learnt how edges go.

It adds a correction to bicubic resampling: 3 x 3 convolutions at the small size, then every pixel becomes four. Trained
on renders of the procedural worlds (`worlds/training/upscaler.py`), 32 thousand numbers, any size of picture.
"""

from __future__ import annotations

from pathlib import Path

import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

WEIGHTS = Path(__file__).parents[1] / "checkpoints" / "upscaler.safetensors"
CHANNELS, LAYERS = 32, 5
REACH = LAYERS + 3  # pixels that a corner of the result depends on, with the bicubic's


class Upscaler(nn.Module):
    """`[N, 3, H, W]` in [0, 1] to `[N, 3, 2 H, 2 W]`, not clipped."""

    def __init__(self, channels: int = CHANNELS, layers: int = LAYERS) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, channels, 3, padding=1, padding_mode="replicate")
        self.middle = nn.ModuleList(
            nn.Conv2d(channels, channels, 3, padding=1, padding_mode="replicate") for _ in range(layers - 2)
        )
        self.last = nn.Conv2d(channels, 12, 3, padding=1, padding_mode="replicate")
        nn.init.zeros_(self.last.weight)  # it begins as bicubic resampling
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]

    def forward(self, pictures: Tensor) -> Tensor:
        plain = F.interpolate(pictures, scale_factor=2, mode="bicubic", align_corners=False)
        x = F.leaky_relu(self.first(pictures - 0.5), 0.1)
        for layer in self.middle:
            x = x + F.leaky_relu(layer(x), 0.1)
        out: Tensor = plain + F.pixel_shuffle(self.last(x), 2)
        return out


def load_upscaler() -> Upscaler:
    """The one that ships. Raises OSError where there are no weights."""
    model = Upscaler()
    model.load_state_dict(load_file(WEIGHTS))
    return model.eval().requires_grad_(False)
