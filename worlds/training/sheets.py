"""Sample sheets: pictures a person can look at while a model trains."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
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


LABEL_PX = 14  # height of a line of text


def write_labelled(path: Path, rows: Sequence[Tensor], row_names: Sequence[str], column_names: Sequence[str]) -> None:
    """Write rows of picture tensors `[N, 3, H, W]` in [0, 1] as a PNG: N named columns, each row under its name.

    Raises ValueError where names and pictures do not agree in number.
    """
    if len(rows) != len(row_names) or any(len(row) != len(column_names) for row in rows):
        raise ValueError(f"{len(rows)} rows of {[len(r) for r in rows]} pictures, {len(row_names)} row names, "
                         f"{len(column_names)} column names")  # fmt: skip
    height, width = rows[0].shape[-2:]
    step = LABEL_PX + height
    sheet = Image.new("RGB", (width * len(column_names), LABEL_PX + step * len(rows)), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(LABEL_PX - 3)
    for j, name in enumerate(column_names):
        pen.text((j * width + 3, 0), name, "black", font)
    for i, (row, name) in enumerate(zip(rows, row_names, strict=True)):
        top = LABEL_PX + i * step
        pen.text((3, top), name, "black", font)
        sheet.paste(Image.fromarray(np.hstack([to_uint8(p) for p in row])), (0, top + LABEL_PX))
    sheet.save(path, optimize=True)
