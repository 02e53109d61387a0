"""A colour map that knows places and brightness: what an edit does to the light and the colours of a frame.

A grid of affine maps of RGB, coarse across the picture and over brightness (the bilateral grid of Chen et al. 2007; its
affine form is that of 1707.02880 and of bilateral guided upsampling, Chen et al. 2016). It is read at the resolution of
whatever frame it is applied to, by that frame's own brightness: edges and texture stay where the source has them, at
full size, and with them the motion.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

BINS, ROWS, COLUMNS = 8, 10, 16
LUMA = (0.299, 0.587, 0.114)
READ_PX = 512  # the longer side at which maps are read; between their points they are smooth
RIDGE = 0.02  # how strongly a fitted cell without evidence is drawn to what its picture does in the mean

Pixels = NDArray[np.float32]  # [H, W, 3] in [0, 1]
Picture = NDArray[np.uint8]  # [H, W, 3]


@dataclass(frozen=True, slots=True)
class ColourGrid:
    """`cells` `[12, BINS, ROWS, COLUMNS]`: for each cell a 3 x 4 affine map of RGB in [0, 1], row by row."""

    cells: Tensor

    def mixed(self, other: ColourGrid, share: float) -> ColourGrid:
        """`share` 0 is this one, 1 the other; beyond 1 leads further in the same direction."""
        return ColourGrid(self.cells + share * (other.cells - self.cells))

    def strengthened(self, strength: float) -> ColourGrid:
        """0 changes nothing, 1 is the grid as it is."""
        return identity().mixed(self, strength)

    def applied(self, picture: Picture) -> Picture:
        """The picture `uint8[H, W, 3]` in its new colours, at its own size."""
        maps = self._maps(picture)
        height, width = picture.shape[:2]
        rgb = picture.astype(np.float32) * np.float32(1 / 255)
        out = np.empty_like(rgb)
        for channel in range(3):
            part = cv2.resize(maps[channel], (width, height), interpolation=cv2.INTER_LINEAR)
            out[..., channel] = np.einsum("hwc,hwc->hw", part[..., :3], rgb) + part[..., 3]
        return as_bytes(out)

    def _maps(self, picture: Picture) -> tuple[NDArray[np.float32], ...]:
        """For red, green and blue `[h, w, 4]`, read by a small copy of the picture."""
        small = within(picture, READ_PX)
        guide = torch.from_numpy(np.ascontiguousarray(small)).float() / 255
        maps = sliced(self.cells[None], luminance(guide.permute(2, 0, 1)[None]))[0]
        return tuple(m.permute(1, 2, 0).contiguous().numpy() for m in maps.split(4))


def identity() -> ColourGrid:
    """Changes nothing."""
    return ColourGrid(torch.eye(3, 4).reshape(12, 1, 1, 1).repeat(1, BINS, ROWS, COLUMNS))


def luminance(rgb: Tensor) -> Tensor:
    """`[N, 3, H, W]` to `[N, H, W]`."""
    return torch.einsum("nchw,c->nhw", rgb, rgb.new_tensor(LUMA))


def sliced(cells: Tensor, guide: Tensor) -> Tensor:
    """Affine maps `[N, 12, H, W]` of the grids `[N, 12, BINS, ROWS, COLUMNS]`, read by brightness `[N, H, W]`."""
    n, height, width = guide.shape
    x = ((torch.arange(width, device=guide.device) + 0.5) / width * 2 - 1).expand(n, height, width)
    y = ((torch.arange(height, device=guide.device) + 0.5) / height * 2 - 1)[:, None].expand(n, height, width)
    where = torch.stack([x, y, guide * 2 - 1], -1)[:, None]
    return F.grid_sample(cells, where, mode="bilinear", padding_mode="border", align_corners=False)[:, :, 0]


def coloured(maps: Tensor, rgb: Tensor) -> Tensor:
    """Affine maps `[N, 12, H, W]` applied to pictures `[N, 3, H, W]`, not clipped."""
    rows = maps.unflatten(1, (3, 4))
    return torch.einsum("nochw,nchw->nohw", rows[:, :, :3], rgb) + rows[:, :, 3]


def fitted(source: Picture, edited: Picture, trust: NDArray[np.float32] | None = None) -> ColourGrid:
    """The grid that makes one picture as nearly as it can into another of the same size, by least squares in every
    cell and those around it. `trust` `[H, W]` says how much a pixel counts. Raises ValueError on other sizes."""
    if source.shape != edited.shape:
        raise ValueError(f"the edited picture must be {list(source.shape)}, got {list(edited.shape)}")
    x = torch.from_numpy(source.reshape(-1, 3).astype(np.float64) / 255)
    y = torch.from_numpy(edited.reshape(-1, 3).astype(np.float64) / 255)
    x1 = torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype)], 1)
    weight = torch.ones(len(x), dtype=x.dtype) if trust is None else torch.from_numpy(trust.ravel().astype(np.float64))
    products = torch.cat([_outer(x1, x1), _outer(x1, y)], 1) * weight[:, None]  # [P, 16 + 12]
    sums = _spread(_gathered(products, x, source.shape[0], source.shape[1]))
    whole = _gathered(products, x, source.shape[0], source.shape[1]).sum((0, 1, 2)) / max(1.0, float(weight.sum()))
    return ColourGrid(_solved(sums, whole).float())


def _outer(a: Tensor, b: Tensor) -> Tensor:
    return (a[:, :, None] * b[:, None, :]).flatten(1)


def _gathered(products: Tensor, x: Tensor, height: int, width: int) -> Tensor:
    """Sums of what lies in each cell, `[BINS, ROWS, COLUMNS, 28]`."""
    luma = (x @ x.new_tensor(LUMA) * BINS).long().clamp(0, BINS - 1)
    row = (torch.arange(height) * ROWS // height)[:, None].expand(height, width).reshape(-1)
    column = (torch.arange(width) * COLUMNS // width).expand(height, width).reshape(-1)
    at = (luma * ROWS + row) * COLUMNS + column
    out = products.new_zeros(BINS * ROWS * COLUMNS, products.shape[1])
    return out.index_add_(0, at, products).view(BINS, ROWS, COLUMNS, -1)


def _spread(sums: Tensor, times: int = 2) -> Tensor:
    """Every cell also believes its neighbours: a triangle filter over brightness and place."""
    x = sums.permute(3, 0, 1, 2)[:, None]
    kernel = x.new_tensor([0.25, 0.5, 0.25])
    for _ in range(times):
        for axis in range(3):
            shape, pad = [1, 1, 1, 1, 1], [0, 0, 0]
            shape[2 + axis], pad[axis] = 3, 1
            x = F.conv3d(x, kernel.view(shape), padding=(pad[0], pad[1], pad[2]))
    return x[:, 0].permute(1, 2, 3, 0)


def _solved(sums: Tensor, whole: Tensor) -> Tensor:
    """Affine maps `[12, BINS, ROWS, COLUMNS]` from sums of products; where they say little, the whole picture's map,
    and where that says little, none."""
    none = torch.eye(4, 3, dtype=sums.dtype)
    eye = 1e-3 * torch.eye(4, dtype=sums.dtype)
    mean = torch.linalg.solve(whole[:16].view(4, 4) + eye, whole[16:].view(4, 3) + eye @ none)
    prior = RIDGE * sums[..., 15:16].clamp(min=1.0)[..., None] * torch.eye(4, dtype=sums.dtype)
    left = sums[..., :16].unflatten(-1, (4, 4)) + prior
    right = sums[..., 16:].unflatten(-1, (4, 3)) + prior @ mean
    return torch.linalg.solve(left, right).transpose(-1, -2).flatten(-2).permute(3, 0, 1, 2).contiguous()


def within(picture: Picture, longest_px: int) -> Picture:
    """The picture with its longer side at most so long, by area."""
    height, width = picture.shape[:2]
    scale = longest_px / max(height, width)
    if scale >= 1:
        return picture
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def as_bytes(rgb: Pixels) -> Picture:
    """From [0, 1], clipped."""
    return (rgb * 255 + 0.5).clip(0, 255).astype(np.uint8)
