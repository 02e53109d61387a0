"""The fused commit as one recording: a block is one pass over the block before, clean, and its own noise, and then the
other denoising passes. The clean block lies where the recording wrote it, so that nothing is copied in between."""

from __future__ import annotations

from torch import Tensor

from .action_ring import ActionRing, FixedRing
from .chunk_fused import Clean, FusedStep
from .chunk_graph import (
    FixedCache,
    Recorded,
    RecordedStep,
    fill,
    fixed_actions,
    fixed_block,
    recorded_work,
    write_block,
)
from .chunk_step import Block, Memory
from .live import LivePreset
from .transformer import WanTransformer


class FusedGraphStep(RecordedStep, FusedStep):
    """`FusedStep`, recorded once the window is full and two blocks follow each other under the same words."""

    name = "fused graph"

    def __init__(self, transformer: WanTransformer, preset: LivePreset, rows: int, columns: int, window: int) -> None:
        super().__init__(transformer, preset, rows, columns, window)
        self._before: Block | None = None  # fixed tensors of the clean block that a recording commits

    def block(self, block: Block) -> Tensor:
        clean = self._clean
        follows = clean is not None and block.given is None and block.context is clean.block.context
        if clean is None or not follows or self._refused or not self.steady:
            return super().block(block)
        if not self._warm:
            self._warm = True
            return super().block(block)
        self._recorded = self._recorded or self._record(clean, block)
        if self._recorded is None:
            return super().block(block)
        latents = self._replayed(self._recorded, clean, block)
        self._clean = Clean(latents, block)
        return latents

    def _replayed(self, recorded: Recorded, clean: Clean, block: Block) -> Tensor:
        assert self._before is not None
        plan, following = self.cache.begin_pair(self.preset.block)
        recorded.cache.set(plan, following)
        if isinstance(recorded.actions, FixedRing) and isinstance(self.actions, ActionRing):
            recorded.actions.set(self.actions)
        recorded.out.copy_(clean.latents)
        write_block(self._before, clean.block)
        fill(recorded, block)
        recorded.recording.replay()
        self.cache.advance(plan)
        self.memory.keep(plan.frames)
        return recorded.out.clone()

    def _record(self, clean: Clean, block: Block) -> Recorded | None:
        """None, after one line, where it cannot be recorded."""
        plan, following = self.cache.begin_pair(self.preset.block)
        cache, out = FixedCache(self.cache, plan, following), clean.latents.clone()
        cache.set(plan, following)
        actions = fixed_actions(self.actions, plan.frames, (0, plan.frames))
        fixed, before = fixed_block(block), fixed_block(clean.block)
        memory = Memory(cache, actions)

        def work() -> None:
            out.copy_(self.drawn_after(Clean(out, before), fixed, memory))

        recording = recorded_work(work, out.device, self)
        if recording is None:
            self._refused = True
            return None
        self.recordings, self._before = self.recordings + 1, before
        return Recorded(cache, actions, fixed, out, recording, block.context)
