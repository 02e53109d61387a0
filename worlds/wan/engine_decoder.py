"""A streaming decoder through two graphs: a `VideoCodec` whose `decode` an engine does. It encodes with torch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from .codec import StreamState, check_latents, opened
from .decoder_graph import LATENT, RGB, cache_name
from .engine_chunk import Runner
from .taehv import TAEHV, TAEHVDecoderState
from .vae import VAEDecoderState, WanVAE

TIME = 2  # the dimension of time in latents


class EngineDecoder:
    """Batch 1, one size. No state of its own, so one serves any number of sessions of one thread."""

    def __init__(self, codec: WanVAE | TAEHV, first: Runner, steady: Runner) -> None:
        """`codec`: what the graphs were written from; it encodes, and says how many frames."""
        self._codec = codec
        self._first, self._steady = first, steady
        _, self.channels, _, self._rows, self._columns = steady.inputs[LATENT].shape
        self.cell_px = codec.cell_px
        self._state: type[StreamState] = VAEDecoderState if isinstance(codec, WanVAE) else TAEHVDecoderState
        self._shapes = codec.config.decoder_caches(1, self._rows, self._columns)

    @property
    def name(self) -> str:
        return self._steady.name

    def frames(self, before: int, latents: int) -> int:
        """As the codec's."""
        return self._codec.frames(before, latents)

    def group(self, before: int) -> int:
        return self._codec.group(before)

    def encode(self, rgb: Tensor, state: Any = None, *, reuse: bool = False) -> tuple[Tensor, Any]:
        """As the codec's, by torch."""
        return self._codec.encode(rgb, state, reuse=reuse)

    @torch.inference_mode()
    def decode(self, latents: Tensor, state: Any = None, *, reuse: bool = False) -> tuple[Tensor, Any]:
        """As the codec's, in the engine's type. `reuse` changes nothing: the engine writes to new memory and what was
        given stays. Raises ValueError on another size or batch than the engine's."""
        check_latents(latents, self.channels)
        size = (1, self.channels, latents.shape[TIME], self._rows, self._columns)
        if tuple(latents.shape) != size:
            raise ValueError(f"the engine decodes latents of {size}, got {tuple(latents.shape)}")
        kind, like = self._state, torch.empty(0, dtype=self._steady.outputs[RGB].dtype, device=latents.device)
        at: StreamState = opened(kind, state, self._shapes, like)
        frames = []
        for latent in latents.split(1, TIME):
            rgb, at = self._one(latent, at)
            frames.append(rgb)
        return torch.cat(frames, TIME), at

    def _one(self, latent: Tensor, state: StreamState) -> tuple[Tensor, StreamState]:
        runner = self._steady if state.seen else self._first
        given = {LATENT: latent.float().contiguous()}
        for i, cache in enumerate(state.caches):
            if (port := runner.inputs.get(cache_name(i))) is not None:
                given[port.name] = cache.reshape(port.shape)
        found = runner.run(given)
        following = [found.get(cache_name(i, following=True)) for i in range(len(state.caches))]
        caches = tuple(
            old if new is None else new.view(old.shape) for old, new in zip(state.caches, following, strict=True)
        )
        return found[RGB], replace(state, caches=caches, seen=state.seen + 1)
