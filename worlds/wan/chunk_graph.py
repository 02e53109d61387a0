"""One block as one recording: all its passes, the renoising between them and the pass that commits it.

Until the window is full the cache grows, and blocks are drawn pass by pass. From then on every block does the same work
at the same addresses; what differs is written into fixed tensors before it: the noise, the rotation of the block's and
the sink's positions, the slots of the ring that it takes over, rows of keys and mouse, and, when they change, words and
first picture. The host knows all positions itself, so that it never asks the device.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from ..recording import Recording, record
from .actions import ActionRows
from .attention import Context, LayerContext
from .chunk_step import Block, EagerStep, StepState
from .kv_cache import ChunkPass, KVCache
from .layers import Rotation
from .live import LivePreset
from .transformer import WanTransformer

logger = logging.getLogger(__name__)


class FixedCache(KVCache):
    """A full cache as a recording sees it: every pass has the same plan, whose numbers lie in tensors."""

    def __init__(self, cache: KVCache, plan: ChunkPass) -> None:
        """Shares all tensors with `cache`."""
        self.__dict__.update(cache.__dict__)
        n = self.tokens
        self.rotation = _copied(plan.rotation)
        self.sink_rotation = None if plan.sink_rotation is None else _copied(plan.sink_rotation)
        self.slots = torch.zeros(plan.frames * n, dtype=torch.long, device=self.keys.device)  # within the ring
        self._plan = ChunkPass(plan.frames, self.rotation, (), 0, self.sink_rotation, plan.held)

    def set(self, plan: ChunkPass) -> None:
        """The numbers of the next block."""
        _write(self.rotation, plan.rotation)
        if self.sink_rotation is not None and plan.sink_rotation is not None:
            _write(self.sink_rotation, plan.sink_rotation)
        n, first = self.tokens, self.chunk + self.sink
        slots = [
            (move.slot - first + i) * n + token for move in plan.moves for i in range(move.count) for token in range(n)
        ]
        assert len(slots) == len(self.slots), "a full cache keeps every frame of a block"
        self.slots.copy_(torch.tensor(slots), non_blocking=True)

    def begin(self, frames: int, commit: bool) -> ChunkPass:
        assert frames == self._plan.frames
        return self._plan

    def keep(self, layer: int, unrotated: Tensor, keys: Tensor, values: Tensor, plan: ChunkPass) -> None:
        """Into the ring at `slots`; the sink is turned to its new place."""
        own, ring = plan.frames * self.tokens, slice((self.chunk + self.sink) * self.tokens, None)
        self.keys[layer, :, ring].index_copy_(1, self.slots, keys[:, :own])
        self.values[layer, :, ring].index_copy_(1, self.slots, values[:, :own])
        if self.sink_rotation is not None:
            self._turn_sink(layer, self.sink_rotation)

    def advance(self, plan: ChunkPass) -> None:
        """The real cache counts."""


@dataclass(slots=True)
class _Recorded:
    """A recording and the fixed tensors that it reads and writes."""

    cache: FixedCache
    block: Block
    out: Tensor
    recording: Recording


class GraphStep(EagerStep):
    """`EagerStep`, recorded once the window is full."""

    name = "graph"

    def __init__(self, transformer: WanTransformer, preset: LivePreset, rows: int, columns: int, window: int) -> None:
        super().__init__(transformer, preset, rows, columns, window)
        self._recorded: _Recorded | None = None
        self._context: Context | None = None  # that the fixed tensors hold
        self._refused = False  # recording failed once
        self.recordings = 0  # made so far: more than one after a reset or a jump is expected, one a block is not

    def reset(self) -> None:
        super().reset()
        self._recorded = None

    def restore(self, state: StepState) -> None:
        super().restore(state)
        self._recorded = None

    @property
    def steady(self) -> bool:
        """Whether the next block does the same work as all after it."""
        full = self.cache.held == self.cache.window - self.preset.block
        return full and (self.actions is None or all(past.full for past in self.actions.pasts))

    def block(self, block: Block) -> Tensor:
        if block.first or block.given is not None or self._refused or not self.steady:
            return super().block(block)
        plan = self.cache.begin(self.preset.block, True)
        try:
            recorded = self._recorded = self._recorded or self._record(block, plan)
        except RuntimeError as error:
            logger.warning("blocks are drawn pass by pass: recording failed (%s)", str(error).split("\n")[0][:200])
            self._refused = True
            return super().block(block)
        recorded.cache.set(plan)
        self._fill(recorded.block, block)
        recorded.recording.replay()
        self.cache.advance(plan)
        return recorded.out.clone()

    def _record(self, block: Block, plan: ChunkPass) -> _Recorded:
        if self.actions is not None:
            self.actions.fix()
        fixed, cache = _fixed(block), FixedCache(self.cache, plan)
        cache.set(plan)
        out, state = torch.empty_like(block.noise[0]), None

        def work() -> None:
            latents = self.denoised(fixed, cache)
            self.shown(latents, self.preset.schedule.context_noise, fixed, cache, commit=True)
            out.copy_(latents)

        if out.device.type != "cuda":
            state = super().snapshot()

        def undo() -> None:
            assert state is not None
            self.cache.restore(state.cache)
            for past, kept in zip(() if self.actions is None else self.actions.pasts, state.actions or (), strict=True):
                assert past.kept is not None
                assert kept is not None
                past.kept[0].copy_(kept[0])
                past.kept[1].copy_(kept[1])

        recording = record(work, out.device, undo)
        self.recordings += 1
        self._context = block.context
        return _Recorded(cache, fixed, out, recording)

    def _fill(self, fixed: Block, block: Block) -> None:
        """Write a block's inputs into the fixed tensors; words only where they have changed."""
        for old, new in zip(fixed.noise, block.noise, strict=True):
            old.copy_(new, non_blocking=True)
        if fixed.seen is not None and block.seen is not None:
            fixed.seen.copy_(block.seen, non_blocking=True)
        if fixed.rows is not None and block.rows is not None:
            fixed.rows.keyboard.copy_(block.rows.keyboard, non_blocking=True)
            if fixed.rows.mouse is not None and block.rows.mouse is not None:
                fixed.rows.mouse.copy_(block.rows.mouse, non_blocking=True)
        if block.context is not self._context:
            for kept, told in zip(fixed.context.layers, block.context.layers, strict=True):
                for field in fields(LayerContext):
                    old, new = getattr(kept, field.name), getattr(told, field.name)
                    if old is not None:
                        old.copy_(new, non_blocking=True)
            self._context = block.context


def _copied(rotation: Rotation) -> Rotation:
    return Rotation(rotation.cos.clone(), rotation.sin.clone())


def _write(fixed: Rotation, rotation: Rotation) -> None:
    fixed.cos.copy_(rotation.cos, non_blocking=True)
    fixed.sin.copy_(rotation.sin, non_blocking=True)


def _fixed(block: Block) -> Block:
    """Copies of a block's tensors, on the device of its noise."""
    device = block.noise[0].device

    def copied(tensor: Tensor | None) -> Tensor | None:
        return None if tensor is None else tensor.to(device).clone()

    layers = tuple(
        LayerContext(c.keys.clone(), c.values.clone(), copied(c.image_keys), copied(c.image_values))
        for c in block.context.layers
    )
    rows = None
    if block.rows is not None:
        keyboard = copied(block.rows.keyboard)
        assert keyboard is not None
        rows = ActionRows(keyboard, copied(block.rows.mouse))
    return Block(tuple(noise.clone() for noise in block.noise), Context(layers), copied(block.seen), rows)
