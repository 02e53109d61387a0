"""One pass fewer a block: the pass that commits a block is fused with the first pass of the next.

Layer by layer the next block needs only the keys and values that the clean block has made in that layer, so one pass
over both gives the same numbers as two (tested to rounding): the weights are read once less, and a GPU is filled
better. Its price: the pass that begins a block is twice as long, so that what a player does shows that much later
where the commit would have found time between two blocks.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .action_walk import BlockActions
from .attention import Context
from .chunk_step import Block, EagerStep, StepState
from .live import LivePreset
from .schedule import sample_block
from .transformer import WanTransformer


@dataclass(frozen=True, slots=True)
class _Clean:
    """A block that is drawn and not yet in the cache."""

    latents: Tensor
    block: Block


class _Both:
    """The actions of a clean block, then of the noisy one that follows."""

    def __init__(self, clean: BlockActions, noisy: BlockActions) -> None:
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
        self._clean: _Clean | None = None

    def reset(self) -> None:
        super().reset()
        self._clean = None

    def block(self, block: Block) -> Tensor:
        if self._clean is not None and (block.given is not None or block.context is not self._clean.block.context):
            self._settle()  # under its own words
        if block.given is not None:
            latents = block.given
        elif self._clean is None:
            latents = self.denoised(block, self.cache)
        else:
            latents = self._drawn_after(self._clean, block)
        self._clean = _Clean(latents, block)
        return latents

    def _drawn_after(self, clean: _Clean, block: Block) -> Tensor:
        noise, first = iter(block.noise), True

        def velocity(z: Tensor, timestep: float) -> Tensor:
            nonlocal first
            if not first:
                return self.shown(z, timestep, block, self.cache, commit=False)
            first = False
            return self._paired(clean, z, timestep, block)

        return sample_block(velocity, lambda: next(noise), self.preset.schedule, first_block=block.first)

    def _paired(self, clean: _Clean, z: Tensor, timestep: float, block: Block) -> Tensor:
        before, now = clean.latents, z
        if block.seen is not None and clean.block.seen is not None:
            before, now = torch.cat([before, clean.block.seen], 1), torch.cat([now, block.seen], 1)
        acting = None
        if self.actions is not None and block.rows is not None and clean.block.rows is not None:
            acting = _Both(BlockActions(clean.block.rows, self.actions), BlockActions(block.rows, self.actions))
        told = (self.preset.schedule.context_noise, timestep)
        return self.transformer.chunk_pair(before, now, told, block.context, self.cache, actions=acting)

    def _settle(self) -> None:
        """Commit the clean block by a pass of its own."""
        if self._clean is not None:
            clean, self._clean = self._clean, None
            told = self.preset.schedule.context_noise
            self.shown(clean.latents, told, clean.block, self.cache, commit=True)

    def recache(self, latents: Tensor, context: Context) -> None:
        self._settle()
        super().recache(latents, context)

    def snapshot(self) -> StepState:
        self._settle()
        return super().snapshot()

    def restore(self, state: StepState) -> None:
        self._clean = None
        super().restore(state)
