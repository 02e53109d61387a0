"""A video of any length edited by VACE, 81 frames at a time, as the model was trained.

Every window but the first begins with the last edited frames of the one before, which are kept: light and shapes go on
across the seam. One window of source and of result is in memory. Sizes are multiples of 16; the caller scales.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .attention import Context
from .vace import CELL_PX, WanVace
from .whole_clips import ClipSchedule, Told, edit_clip

Picture = NDArray[np.uint8]
Mask = NDArray[np.float32]  # [H, W], 1 is drawn anew
Codec = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class VaceEditor:
    """A loaded VACE and its codec. `encode` takes `[B, 3, F, H, W]` in [-1, 1] to latents, `decode` brings them back;
    `without` are the words to be guided away from. Raises ValueError on a window that does not fit."""

    model: WanVace
    encode: Codec
    decode: Codec
    words: Context
    without: Context | None = None
    schedule: ClipSchedule = ClipSchedule()
    window: int = 81
    overlap: int = 5

    def __post_init__(self) -> None:
        if self.window % 4 != 1 or not 0 < self.overlap < self.window:
            raise ValueError(f"a window has 4n + 1 frames, more than its overlap; got {self.window} and {self.overlap}")

    def edited(
        self,
        frames: Iterator[Picture],
        seed: int,
        masks: Iterator[Mask] | None = None,
        references: Sequence[Picture] = (),
        told: Told = lambda done, of: None,
    ) -> Iterator[Picture]:
        """One edited frame for every frame `[H, W, 3]`. `told` hears the steps of the window under way, and may end
        the work by raising. Raises ValueError on a size that does not fit."""
        generator = torch.Generator().manual_seed(seed)
        shown = [_tensor([picture])[:, :, 0] for picture in references]
        before: list[Picture] = []
        while True:
            source, anew = self._taken(frames, masks, len(before))
            if not source:
                return
            video = before + source
            keep: list[Mask] = [np.zeros(p.shape[:2], np.float32) for p in before]
            made = self._window(video, keep + anew, shown, generator, told)
            yield from made[len(before) :]
            before = made[-self.overlap :]

    def _taken(
        self, frames: Iterator[Picture], masks: Iterator[Mask] | None, kept: int
    ) -> tuple[list[Picture], list[Mask]]:
        """The next frames of a window that begins with `kept` others."""
        source: list[Picture] = []
        anew: list[Mask] = []
        while len(source) + kept < self.window and (picture := next(frames, None)) is not None:
            if picture.shape[0] % (2 * CELL_PX) or picture.shape[1] % (2 * CELL_PX):
                raise ValueError(f"VACE edits frames of multiples of 16 pixels, got {picture.shape[1::-1]}")
            source.append(picture)
            anew.append(np.ones(picture.shape[:2], np.float32) if masks is None else next(masks))
        return source, anew

    def _window(
        self,
        video: list[Picture],
        anew: list[Mask],
        references: Sequence[Tensor],
        generator: torch.Generator,
        told: Told,
    ) -> list[Picture]:
        count = len(video)
        short = (1 - count) % 4  # a window has 4n + 1 frames: the last one stands still
        video, anew = video + video[-1:] * short, anew + anew[-1:] * short
        mask = torch.from_numpy(np.stack(anew))[None, None]
        latents = edit_clip(
            self.model, _tensor(video), self.encode, self.words, generator, self.without, self.schedule,
            mask=mask, references=references, told=told,
        )  # fmt: skip
        return _pictures(self.decode(latents))[:count]


def _tensor(pictures: Sequence[Picture]) -> Tensor:
    """`[1, 3, F, H, W]` in [-1, 1]."""
    return torch.from_numpy(np.stack(pictures)).permute(3, 0, 1, 2)[None].float() / 127.5 - 1


def _pictures(rgb: Tensor) -> list[Picture]:
    scaled = ((rgb[0].float() + 1) * 127.5 + 0.5).clamp(0, 255).to(torch.uint8)
    return list(scaled.permute(1, 2, 3, 0).cpu().numpy())
