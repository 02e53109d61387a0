"""From latents to pictures on the host: decoded beside the drawing, converted there, copied into pinned rings."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ...kernels.i420 import i420
from .lanes import Lanes
from .pinned_ring import PinnedRing
from .streaming import StreamingDecoder, pictures

Planes = NDArray[np.uint8]
SLOTS = 12  # of latents that wait for an encoder, in each ring; a block is three


@dataclass(frozen=True, slots=True)
class Picture:
    """One video frame on the host."""

    rgb: NDArray[np.uint8]  # [H, W, 3]
    planes: Planes | None  # I420 [H * 3 / 2, W], where the device made them
    decode_ms: float  # until all of its latent's frames were on the host, for each of them


@dataclass(frozen=True, slots=True)
class _Copied:
    """A latent's frames, once the mark is reached."""

    rgb: NDArray[np.uint8]  # [F, H, W, 3]
    planes: Planes | None  # [F, H * 3 / 2, W]
    done: Any
    begun_s: float


class PictureStream:
    """One walk's decoder and its rings. Not thread-safe."""

    def __init__(self, stream: StreamingDecoder, lanes: Lanes, on_device: bool, pinned: bool = True) -> None:
        """`on_device`: pictures are converted and copied as an encoder wants them; otherwise they are where they are
        decoded. `pinned` as in `PinnedRing`."""
        self._stream, self._lanes, self._on_device, self._pinned = stream, lanes, on_device, pinned
        self._rings: dict[tuple[int, ...], PinnedRing] = {}

    def of(self, latents: Tensor, after: Any) -> Iterator[Picture]:
        """The pictures of a block `[1, C, T, h, w]` that is drawn once the mark `after` is reached.

        Latent by latent, so that the first is there soonest. Where the device works by itself all are put in line at
        once, else each is decoded when it is asked for.
        """
        waiting: deque[_Copied] = deque()
        count = latents.shape[2]
        begun = 0
        for _ in range(count):
            while begun < count and (self._lanes.beside or not waiting):
                waiting.append(self._begin(latents[:, :, begun : begun + 1], after))
                begun += 1
            ready = waiting.popleft()
            self._lanes.wait(ready.done)
            ms = 1e3 * (time.perf_counter() - ready.begun_s) / max(1, len(ready.rgb))
            for i, rgb in enumerate(ready.rgb):
                yield Picture(rgb, None if ready.planes is None else ready.planes[i], ms)

    def _begin(self, latent: Tensor, after: Any) -> _Copied:
        begun = time.perf_counter()
        with self._lanes.decoding(after, latent):
            rgb = self._stream.decode(latent)
            shown = pictures(rgb)[0]
            if not self._on_device:
                return _Copied(shown.numpy(), None, self._lanes.mark(), begun)
            there, array = self._taken(tuple(shown.shape))
            there.copy_(shown, non_blocking=True)
            planes = self._planes(rgb[0])
            return _Copied(array, planes, self._lanes.mark(), begun)

    def _planes(self, rgb: Tensor) -> Planes | None:
        """I420 of rgb `[3, F, H, W]` in [-1, 1]; None where a side is odd."""
        _, frames, height, width = rgb.shape
        if height % 2 or width % 2:
            return None
        there, array = self._taken((frames, height * 3 // 2, width))
        there.copy_(i420(rgb.contiguous()), non_blocking=True)
        return array

    def _taken(self, shape: tuple[int, ...]) -> tuple[Tensor, Planes]:
        if shape not in self._rings:
            self._rings[shape] = PinnedRing(shape, SLOTS, self._pinned)
        return self._rings[shape].take()
