"""Another time of day, weather, mood or season for the same view: a small network that was shown pairs.

The procedural worlds can be rendered twice, from one place, in two lights or in the colours of two themes. The network
has seen such pairs (`worlds/training/look.py`) and, for a picture and what it should become, says how colours change:
a `ColourGrid`, not pixels. What the source shows stays where it is; the grid is applied at the source's own size.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from .autoencoder import ResidualBlock
from .edit_grid import BINS, COLUMNS, ROWS, ColourGrid, coloured, luminance, sliced
from .procedural.attributes import MOODS, THEMES, TIMES, WEATHERS
from .procedural.captions import Hints

FILE = "look.safetensors"
WIDTH_PX, HEIGHT_PX = 64, 40
SIZES = (len(THEMES), len(TIMES), len(WEATHERS), len(MOODS))
ASKED = sum(SIZES)
GUIDANCE = 0.5  # measured on worlds apart from the benchmark's: at 1 and above it overshoots


class LookNetwork(nn.Module):
    """Pictures `[N, 3, 40, 64]` in [0, 1] and wishes `[N, ASKED]` to grids `[N, 12, BINS, ROWS, COLUMNS]`."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.eyes = nn.Sequential(
            nn.PixelUnshuffle(4),  # [N, 48, 10, 16]
            nn.Conv2d(48, width, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(width, width, 1),
        )
        self.wish = nn.Sequential(nn.Linear(ASKED, 128), nn.SiLU(), nn.Linear(128, 6 * width))
        self.around = nn.ModuleList(nn.Linear(width, width) for _ in range(3))
        self.blocks = nn.ModuleList(ResidualBlock(width) for _ in range(3))
        self.head = nn.Conv2d(width, 12 * BINS, 1)
        nn.init.zeros_(self.head.weight)
        assert self.head.bias is not None
        nn.init.zeros_(self.head.bias)

    def forward(self, pictures: Tensor, wishes: Tensor) -> Tensor:
        x = self.eyes(pictures * 2 - 1)
        scales = self.wish(wishes).chunk(6, -1)
        for i, (block, around) in enumerate(zip(self.blocks, self.around, strict=True)):
            x = x * (1 + scales[2 * i][..., None, None]) + scales[2 * i + 1][..., None, None]
            x = block(x + around(x.mean((2, 3)))[..., None, None])
        change: Tensor = self.head(nn.functional.silu(x)).unflatten(1, (12, BINS))
        return change + torch.eye(3, 4).reshape(12, 1, 1, 1).to(change)


def wish_of(hints: Hints) -> Tensor:
    """What is asked for as `[ASKED]`; what is not named stays as it is."""
    out = torch.zeros(ASKED)
    at = 0
    for size, index in zip(SIZES, (hints.theme, hints.time, hints.weather, hints.mood), strict=True):
        if index is not None:
            out[at + index] = 1.0
        at += size
    return out


@dataclass(frozen=True, slots=True)
class Look:
    """The trained network, ready."""

    network: LookNetwork

    @torch.inference_mode()
    def grid(
        self, picture: NDArray[np.uint8], wanted: Hints, now: Hints | None = None, guidance: float = GUIDANCE
    ) -> ColourGrid:
        """How `picture` `uint8[H, W, 3]` of any size changes on its way to what is `wanted`; the more of it is named,
        the better. Where it is known what the picture shows `now`, the change leads away from that as well (guidance,
        as of 2207.12598)."""
        small = cv2.resize(picture, (WIDTH_PX, HEIGHT_PX), interpolation=cv2.INTER_AREA)
        pixels = torch.from_numpy(small).permute(2, 0, 1)[None].float() / 255
        named = [wanted] if now is None or not guidance else [wanted, now]
        cells = self.network(pixels.expand(len(named), -1, -1, -1), torch.stack([wish_of(h) for h in named]))
        there = ColourGrid(cells[0].clone())
        if len(named) == 1:
            return there
        here = ColourGrid(cells[1].clone())
        # away from a bright noon, night would end in plain black: the nearer to it, the less guidance
        ratio = _light(there.mixed(here, -guidance), pixels) / max(1e-3, _light(there, pixels))
        return there.mixed(here, -guidance * min(1.0, max(0.0, (ratio - 0.25) / 0.5)))


assert (HEIGHT_PX, WIDTH_PX) == (4 * ROWS, 4 * COLUMNS)


def _light(grid: ColourGrid, pixels: Tensor) -> float:
    """Mean brightness of a picture `[1, 3, H, W]` in its new colours."""
    maps = sliced(grid.cells[None], luminance(pixels))
    return float(luminance(coloured(maps, pixels).clamp(0, 1)).mean())


def load_look(folder: Path) -> Look:
    """From `look.safetensors` in `folder`. Raises ValueError when it is missing."""
    path = folder / FILE
    if not path.is_file():
        raise ValueError(f"{path} is missing; restore it from the repository or run `worldstream train look`")
    network = LookNetwork()
    network.load_state_dict({k: v.float() for k, v in load_file(path).items()})
    return Look(network.eval().requires_grad_(False))
