"""One block of an open checkpoint, from noise to clean latents in the cache: the contract, and its plain form.

`EagerStep` is what all others must equal. `chunk_graph.py` records the same work once and replays it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from .action_ring import ActionRing, RingActions
from .action_walk import BlockActions
from .actions import ActionCache, ActionRows
from .attention import Context
from .fused_transformer import FusedTransformer
from .kv_cache import CacheState, KVCache
from .live import LivePreset
from .schedule import Velocity, sample_block, sample_block_fused
from .transformer import ApplyActions, WanTransformer
from .upload import upload

logger = logging.getLogger(__name__)


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


@dataclass(frozen=True, slots=True)
class Memory:
    """What the passes of one walk read and write."""

    cache: KVCache
    actions: ActionCache | ActionRing | None

    def acting(self, rows: ActionRows | None, ahead: int = 0) -> ApplyActions | None:
        """What a pass calls action modules with; `ahead`: latent frames before the block in the same pass."""
        if rows is None or self.actions is None:
            return None
        if isinstance(self.actions, ActionRing):
            return RingActions(rows, self.actions, ahead)
        return BlockActions(rows, self.actions)

    def keep(self, frames: int) -> None:
        """A clean pass over so many frames is done."""
        if isinstance(self.actions, ActionRing):
            self.actions.advance(frames)


class EagerStep:
    """Pass by pass: in plain torch, or by the kernels of a `FusedTransformer`."""

    name = "eager"

    def __init__(self, transformer: WanTransformer, preset: LivePreset, rows: int, columns: int, window: int) -> None:
        """Allocates the cache, once. `rows` x `columns` cells of a latent frame."""
        self.transformer, self.preset = transformer, preset
        dtype, device = transformer.dtype, transformer.device
        self.fused, scales = isinstance(transformer, FusedTransformer), None
        if isinstance(transformer, FusedTransformer):
            tokens = transformer.config.tokens(rows, columns)
            scales = transformer.choose_attention(tokens, preset.block, window, logger.warning)
        self.cache = KVCache(
            transformer.config, rows, columns, window, chunk=preset.block, sink=preset.sink, dtype=dtype, device=device,
            scales=scales,
        )  # fmt: skip
        self.actions: ActionCache | ActionRing | None = None
        if preset.actions is not None:
            ring = self.fused and preset.actions.window >= preset.block
            self.actions = (
                ActionRing(preset.actions, self.cache.tokens, dtype, device) if ring else ActionCache(preset.actions)
            )
        self.memory = Memory(self.cache, self.actions)
        schedule = preset.schedule
        self._levels = {
            first: upload(torch.tensor([schedule.level(t) for t in schedule.timesteps(first)]), device)
            for first in (False, True)
        }

    def reset(self) -> None:
        self.cache.reset()
        if self.actions is not None:
            self.actions.reset()

    def block(self, block: Block) -> Tensor:
        latents = self.denoised(block, self.memory) if block.given is None else block.given
        self.shown(latents, self.preset.schedule.context_noise, block, self.memory, commit=True)
        return latents

    def denoised(self, block: Block, memory: Memory) -> Tensor:
        """The clean block; what is remembered is only read."""
        return self.sampled(lambda z, timestep: self.shown(z, timestep, block, memory, commit=False), block)

    def sampled(self, velocity: Velocity, block: Block) -> Tensor:
        """The clean block of its noises."""
        noise, schedule = iter(block.noise), self.preset.schedule
        if self.fused:
            levels = self._levels[block.first]
            return sample_block_fused(velocity, lambda: next(noise), schedule.timesteps(block.first), levels)
        return sample_block(velocity, lambda: next(noise), schedule, first_block=block.first)

    def shown(self, latents: Tensor, timestep: float, block: Block, memory: Memory, commit: bool) -> Tensor:
        """One pass over the block: its velocity."""
        x = latents if block.seen is None else torch.cat([latents, block.seen], 1)
        told = torch.full((1,), timestep, device=latents.device)
        acting = memory.acting(block.rows)
        out = self.transformer.chunk(x, told, block.context, memory.cache, commit=commit, actions=acting)
        if commit:
            memory.keep(latents.shape[2])
        return out

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
