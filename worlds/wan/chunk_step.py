"""One block of an open checkpoint, from noise to clean latents in the cache: the contract, and its plain form.

`EagerStep` is what all others must equal. `chunk_graph.py` records the same work once and replays it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from .action_walk import BlockActions
from .actions import ActionCache, ActionRows
from .attention import Context
from .kv_cache import CacheState, KVCache
from .live import LivePreset
from .schedule import sample_block
from .transformer import WanTransformer


@dataclass(frozen=True, slots=True)
class Block:
    """What one block is drawn from. Tensors lie on the transformer's device, in its type."""

    noise: tuple[Tensor, ...]  # one for each denoising pass, [1, C, T, h, w]
    context: Context
    seen: Tensor | None = None  # of the first picture, [1, 4 + C, T, h, w]
    rows: ActionRows | None = None
    first: bool = False  # of the walk
    given: Tensor | None = None  # clean latents that are shown to the cache instead of being drawn


@dataclass(frozen=True, slots=True)
class StepState:
    """Everything that the next block depends on, for snapshots."""

    cache: CacheState
    actions: list[tuple[Tensor, Tensor] | None] | None


class ChunkStep(Protocol):
    """Draws the blocks of one walk. Not thread-safe."""

    name: str

    def reset(self) -> None:
        """A new walk."""
        ...

    def block(self, block: Block) -> Tensor:
        """The next clean block `[1, C, T, h, w]`, committed to the cache."""
        ...

    def recache(self, latents: Tensor, context: Context) -> None:
        """Show the newest clean frames to the cache again, under other words."""
        ...

    def snapshot(self) -> StepState: ...
    def restore(self, state: StepState) -> None: ...


MakeStep = Callable[[WanTransformer, LivePreset, int, int, int], ChunkStep]
"""(transformer, preset, rows, columns, window) -> what draws the blocks of a new walk."""


class EagerStep:
    """Plain torch, pass by pass."""

    name = "eager"

    def __init__(self, transformer: WanTransformer, preset: LivePreset, rows: int, columns: int, window: int) -> None:
        """Allocates the cache, once. `rows` x `columns` cells of a latent frame."""
        self.transformer, self.preset = transformer, preset
        self.cache = KVCache(
            transformer.config, rows, columns, window, chunk=preset.block, sink=preset.sink, dtype=transformer.dtype,
            device=transformer.device,
        )  # fmt: skip
        self.actions = None if preset.actions is None else ActionCache(preset.actions)

    def reset(self) -> None:
        self.cache.reset()
        if self.actions is not None:
            self.actions.reset()

    def block(self, block: Block) -> Tensor:
        if block.given is not None:
            latents = block.given
        else:
            latents = self.denoised(block, self.cache)
        self.shown(latents, self.preset.schedule.context_noise, block, self.cache, commit=True)
        return latents

    def denoised(self, block: Block, cache: KVCache) -> Tensor:
        """The clean block; the cache is only read."""
        noise = iter(block.noise)
        return sample_block(
            lambda z, timestep: self.shown(z, timestep, block, cache, commit=False),
            lambda: next(noise),
            self.preset.schedule,
            first_block=block.first,
        )

    def shown(self, latents: Tensor, timestep: float, block: Block, cache: KVCache, commit: bool) -> Tensor:
        """One pass over the block: its velocity."""
        x = latents if block.seen is None else torch.cat([latents, block.seen], 1)
        told = torch.full((1,), timestep, device=latents.device)
        acting = None
        if block.rows is not None and self.actions is not None:
            acting = BlockActions(block.rows, self.actions)
        return self.transformer.chunk(x, told, block.context, cache, commit=commit, actions=acting)

    def recache(self, latents: Tensor, context: Context) -> None:
        # together, as the released code does: its cached attention never looked at the mask it was given
        self.transformer.recache(latents, context, self.cache, bidirectional=True)

    def snapshot(self) -> StepState:
        return StepState(self.cache.snapshot(), None if self.actions is None else self.actions.snapshot())

    def restore(self, state: StepState) -> None:
        self.cache.restore(state.cache)
        if self.actions is not None and state.actions is not None:
            self.actions.restore(state.actions)


def passes(preset: LivePreset, first: bool) -> int:
    """Denoising passes of a block: how many noises it takes."""
    return len(preset.schedule.timesteps(first))
