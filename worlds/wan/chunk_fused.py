"""One pass fewer a block: the pass that commits a block is fused with the first pass of the next.

Layer by layer the next block needs only the keys and values that the clean block has made in that layer, so one pass
over both gives the same numbers as two (tested to rounding): the weights are read once less, and a GPU is filled
better. Its price: the pass that begins a block is twice as long, so what a player does must be known one pass earlier,
before the block on the screen is committed, and shows that much later where the commit would have found time between
two blocks.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .attention import Context
from .block import ApplyActions
from .chunk_step import Block, EagerStep, Memory, StepState
from .live import LivePreset
from .transformer import WanTransformer


@dataclass(frozen=True, slots=True)
class Clean:
    """A block that is drawn and not yet in the cache."""

    latents: Tensor
    block: Block


class BothActions:
    """The actions of a clean block, then of the noisy one that follows."""

    def __init__(self, clean: ApplyActions, noisy: ApplyActions) -> None:
        self._parts = clean, noisy

    def __call__(self, module: nn.Module, x: Tensor, grid: tuple[int, int, int], layer: int, commit: bool) -> Tensor:
        halves, single = x.chunk(2, 1), (grid[0] // 2, grid[1], grid[2])
        clean = self._parts[0](module, halves[0], single, layer, True)
        return torch.cat([clean, self._parts[1](module, halves[1], single, layer, False)], 1)


class FusedStep(EagerStep):
    """`EagerStep` with the commit of every block moved into the first pass of the next."""

    name = "fused"

    def __init__(self, transformer: WanTransformer, preset: LivePreset, rows: int, columns: int, window: int) -> None:
        super().__init__(transformer, preset, rows, columns, window)
        self._clean: Clean | None = None

    def reset(self) -> None:
        super().reset()
        self._clean = None

    def block(self, block: Block) -> Tensor:
        if self._clean is not None and (block.given is not None or block.context is not self._clean.block.context):
            self._settle()  # under its own words
        if block.given is not None:
            latents = block.given
        elif self._clean is None:
            latents = self.denoised(block, self.memory)
        else:
            latents = self.drawn_after(self._clean, block, self.memory)
        self._clean = Clean(latents, block)
        return latents

    def drawn_after(self, clean: Clean, block: Block, memory: Memory) -> Tensor:
        """The next clean block; the one before it is committed on the way."""
        first = True

        def velocity(z: Tensor, timestep: float) -> Tensor:
            nonlocal first
            if not first:
                return self.shown(z, timestep, block, memory)
            first = False
            return self._paired(clean, z, timestep, block, memory)

        return self.sampled(velocity, block)

    def _paired(self, clean: Clean, z: Tensor, timestep: float, block: Block, memory: Memory) -> Tensor:
        before, now, frames = clean.latents, z, clean.latents.shape[2]
        if block.seen is not None and clean.block.seen is not None:
            before, now = torch.cat([before, clean.block.seen], 1), torch.cat([now, block.seen], 1)
        parts = memory.acting(clean.block.rows), memory.acting(block.rows, ahead=frames)
        acting = None if parts[0] is None or parts[1] is None else BothActions(parts[0], parts[1])
        told = (self.preset.schedule.context_noise, timestep)
        out = self.transformer.chunk_pair(before, now, told, block.context, memory.cache, actions=acting)
        memory.keep(frames)
        return out

    def _settle(self) -> None:
        """Commit the clean block by a pass of its own."""
        if self._clean is not None:
            clean, self._clean = self._clean, None
            self.commit(clean.latents, clean.block, self.memory)

    def recache(self, latents: Tensor, context: Context) -> None:
        self._settle()
        super().recache(latents, context)

    def snapshot(self) -> StepState:
        self._settle()
        return super().snapshot()

    def restore(self, state: StepState) -> None:
        self._clean = None
        super().restore(state)
