"""Sample sheets: pictures a person can look at while a model trains."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor


def write_sheet(path: Path, rows: list[Tensor], columns: int | None = None) -> None:
    """Write picture tensors `[N, 3, H, W]` in [0, 1] as a PNG: the rows under each other, broken after `columns`."""
    columns = columns or len(rows[0])
    strips = []
    for start in range(0, len(rows[0]), columns):
        for row in rows:
            part = row[start : start + columns]
            if len(part) < columns:
                part = torch.cat([part, part.new_zeros(columns - len(part), *part.shape[1:])])
            strips.append(np.hstack([to_uint8(p) for p in part]))
    Image.fromarray(np.vstack(strips)).save(path, optimize=True)


def to_uint8(picture: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """`[3, H, W]` in [0, 1] to `uint8[H, W, 3]`."""
    return (picture.clamp(0, 1).permute(1, 2, 0).cpu().numpy() * 255 + 0.5).astype(np.uint8)
