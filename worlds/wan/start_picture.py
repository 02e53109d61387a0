"""The picture that a walk begins from, as an image-to-video transformer is shown it with every block.

Beside the 16 noisy channels it sees 4 of a mask, 1 in the first latent frame and 0 after it, and 16 of the latents of a
video that holds the picture and then nothing (zeros). A causal encoder forgets: after `SETTLED` latent frames the
latents of nothing no longer change, and none is encoded any more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .codec import VideoCodec
from .streaming import CodecStream, StreamSnapshot, from_pictures
from .upload import upload

MASK = 4  # channels: one for each frame of a latent
# Causal convolutions look two of their inputs back. Summed over the Wan encoder's layers, at the rates they run at,
# that is under 120 frames, so 30 latent frames.
SETTLED = 32


@dataclass(frozen=True, slots=True)
class StartState:
    """For snapshots."""

    image: NDArray[np.uint8]
    encoder: StreamSnapshot[Any, Any]
    shown: int
    last: Tensor | None


class StartPicture:
    """One walk's. Encodes as the walk goes, so that it begins at once."""

    def __init__(
        self, encoder: VideoCodec[Any, Any], image: NDArray[np.uint8], device: torch.device, dtype: torch.dtype
    ) -> None:
        """image `[H, W, 3]`."""
        self.image = image
        self._stream: CodecStream[Any, Any] = CodecStream(encoder)
        self._device, self._dtype = device, dtype
        self._shown = 0  # latent frames so far
        self._last: Tensor | None = None  # [1, C, 1, h, w]

    def block(self, latents: int) -> Tensor:
        """What the next `latents` frames see, `[1, 4 + C, latents, h, w]`."""
        parts = [self._next() for _ in range(latents)]
        seen = torch.cat(parts, 2).to(self._device, self._dtype)
        mask = seen.new_zeros(1, MASK, *seen.shape[2:])
        if self._shown == latents:
            mask[:, :, 0] = 1
        return torch.cat([mask, seen], 1)

    def _next(self) -> Tensor:
        if self._last is None or self._shown < SETTLED:
            height, width = self.image.shape[:2]
            empty = (1, 3, 4, height, width)
            frames = from_pictures(self.image) if not self._shown else torch.zeros(empty, device=self._device)
            self._last = self._stream.encode(frames if self._shown else upload(frames, self._device))
            assert self._last.shape[2] == 1
        self._shown += 1
        return self._last

    def snapshot(self) -> StartState:
        return StartState(self.image, self._stream.snapshot(), self._shown, self._last)

    def restore(self, state: StartState) -> None:
        """Continue from a snapshot of the same picture's."""
        self._stream.restore(state.encoder)
        self._shown, self._last = state.shown, state.last
