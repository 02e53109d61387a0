"""A codec whose decoder is recorded: one latent after others is hundreds of small launches, the same ones each time.

The caches of a stream stay where they are, so the work over one latent can be recorded once it has run twice, and
replayed. One session's: what it reads and writes are its own tensors.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..recording import Recording, record
from .codec import StreamState, VideoCodec

logger = logging.getLogger(__name__)

WARM = 2  # latents of a stream that are decoded before one is recorded: the first differs, the second loads kernels
TIME = 2


@dataclass(frozen=True, slots=True)
class _Recorded:
    latent: Tensor  # [B, C, 1, h, w]
    caches: tuple[Tensor, ...]
    rgb: Tensor
    recording: Recording


class RecordedDecoder:
    """Satisfies `VideoCodec`. Not thread-safe: of one stream."""

    def __init__(self, codec: VideoCodec[Any, Any]) -> None:
        self._codec = codec
        self.channels, self.cell_px = codec.channels, codec.cell_px
        self._recorded: _Recorded | None = None
        self._refused = False
        self.recordings = 0  # made so far

    def frames(self, before: int, latents: int) -> int:
        """As the codec's; so are `group` and `encode`."""
        return self._codec.frames(before, latents)

    def group(self, before: int) -> int:
        return self._codec.group(before)

    def encode(self, rgb: Tensor, state: Any = None, *, reuse: bool = False) -> tuple[Tensor, Any]:
        return self._codec.encode(rgb, state, reuse=reuse)

    def decode(self, latents: Tensor, state: Any = None, *, reuse: bool = False) -> tuple[Tensor, Any]:
        """As the codec's. With `reuse` the state that is returned may lie in the recording's tensors."""
        if not reuse or state is None or state.seen < WARM or self._refused:
            return self._codec.decode(latents, state, reuse=reuse)
        frames = []
        for latent in latents.split(1, TIME):
            rgb, state = self._one(latent, state)
            frames.append(rgb)
        return frames[0] if len(frames) == 1 else torch.cat(frames, TIME), state

    def _one(self, latent: Tensor, state: StreamState) -> tuple[Tensor, StreamState]:
        recorded = self._fitting(latent, state)
        if recorded is None:
            found: tuple[Tensor, StreamState] = self._codec.decode(latent, state, reuse=True)
            return found
        recorded.latent.copy_(latent, non_blocking=True)
        for kept, given in zip(recorded.caches, state.caches, strict=True):
            if kept is not given:  # after a jump, or a new beginning
                kept.copy_(given, non_blocking=True)
        recorded.recording.replay()
        return recorded.rgb.clone(), replace(state, caches=recorded.caches, seen=state.seen + 1)

    def _fitting(self, latent: Tensor, state: StreamState) -> _Recorded | None:
        """The recording for tensors of these shapes, made where there is none; None where that fails."""
        old = self._recorded
        if old is not None and old.latent.shape == latent.shape and old.latent.dtype == latent.dtype:
            return old
        fixed = latent.clone()
        before = tuple(cache.clone() for cache in state.caches)
        size = (*latent.shape[:1], 3, self.frames(state.seen, 1), *(self.cell_px * side for side in latent.shape[3:]))
        out = torch.empty(size, dtype=state.caches[0].dtype, device=latent.device)

        def work() -> None:
            drawn, _ = self._codec.decode(fixed, state, reuse=True)
            out.copy_(drawn)

        def undo() -> None:
            for cache, was in zip(state.caches, before, strict=True):
                cache.copy_(was)

        try:
            recording = record(work, latent.device, undo)
        except RuntimeError as error:
            line = str(error).split("\n")[0][:200]
            logger.warning("latents are decoded one launch at a time: recording failed (%s)", line)
            self._refused = True
            return None
        self.recordings += 1
        self._recorded = _Recorded(fixed, state.caches, out, recording)
        return self._recorded
