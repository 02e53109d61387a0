"""Blocks drawn by an engine: the `ChunkStep` around `EngineChunk`."""

from __future__ import annotations

import torch
from torch import Tensor

from .attention import Context
from .chunk_step import Block, StepState
from .engine_chunk import EngineChunk
from .live import LivePreset
from .schedule import sample_block


class EngineStep:
    """`EagerStep` whose passes an engine does. One difference: `recache` sends the frames through chunk by chunk.

    The engine has one length of chunk, so the newest frames cannot be shown to it together, as `EagerStep` does.
    """

    def __init__(self, chunk: EngineChunk, preset: LivePreset, dtype: torch.dtype) -> None:
        """`dtype` of the latents that are returned."""
        self.name, self._chunk, self._preset, self._dtype = chunk.name, chunk, preset, dtype
        self._context: Context | None = None  # that the engine holds

    def reset(self) -> None:
        """A new walk."""
        self._chunk.reset()

    def block(self, block: Block) -> Tensor:
        """The next clean block `[1, C, T, h, w]`, committed to the cache. Raises ValueError on another length."""
        if block.context is not self._context:
            self._chunk.show(block.context)
            self._context = block.context
        noise = iter(block.noise)
        latents = block.given
        if latents is None:
            latents = sample_block(
                lambda z, timestep: self._shown(z, timestep, block, commit=False),
                lambda: next(noise),
                self._preset.schedule,
                first_block=block.first,
            )
        self._shown(latents, self._preset.schedule.context_noise, block, commit=True)
        return latents

    def recache(self, latents: Tensor, context: Context) -> None:
        """Show the newest clean frames to the cache again, under other words."""
        self._chunk.recache(latents, context)
        self._context = context

    def snapshot(self) -> StepState:
        return self._chunk.snapshot()

    def restore(self, state: StepState) -> None:
        self._chunk.restore(state)

    def _shown(self, latents: Tensor, timestep: float, block: Block, commit: bool) -> Tensor:
        """One pass over the block: its velocity."""
        x = latents if block.seen is None else torch.cat([latents, block.seen.to(latents)], 1)
        told = torch.full((1,), timestep, device=latents.device)
        return self._chunk.chunk(x, told, commit=commit, actions=block.rows).to(self._dtype)
