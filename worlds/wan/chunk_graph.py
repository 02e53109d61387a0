"""One block as one recording: all its passes, the renoising between them and the pass that commits it.

Until the window is full the cache grows, and blocks are drawn pass by pass. From then on every block does the same work
at the same addresses; what differs is written into fixed tensors before it: the noise, the rotation of the block's and
the sink's positions, the slots of the ring that it takes over, rows of keys and mouse, and, when they change, words and
first picture. The host knows all positions itself, so that it never asks the device.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from ...kernels.reference import as_bytes
from ..recording import Recording, record
from .action_ring import ActionRing, FixedRing
from .actions import ActionCache, ActionRows
from .attention import Context, LayerContext
from .chunk_step import Block, EagerStep, Memory, StepState
from .kv_cache import ChunkPass, KVCache
from .layers import Rotation
from .live import LivePreset
from .transformer import WanTransformer
from .upload import upload

logger = logging.getLogger(__name__)


class FixedCache(KVCache):
    """A full cache as a recording sees it: every pass has the same plan, whose numbers lie in tensors."""

    def __init__(self, cache: KVCache, plan: ChunkPass, following: ChunkPass | None = None) -> None:
        """Shares all tensors with `cache`. `following`: of the block after the one that is committed, where both are
        shown in one pass; the passes after that one are over it."""
        self.__dict__.update(cache.__dict__)
        n = self.tokens
        self.sink_rotation = None if plan.sink_rotation is None else _copied(plan.sink_rotation)
        kept = min(plan.frames, self.window - self.chunk - self.sink)  # a short ring keeps the newest frames of a block
        self.slots = torch.zeros(kept * n, dtype=torch.long, device=self.keys.device)  # within the ring
        self._plan = ChunkPass(plan.frames, _copied(plan.rotation), (), 0, self.sink_rotation, plan.held)
        self._following = self._plan
        if following is not None:
            turned = _copied(following.rotation)
            self._following = ChunkPass(following.frames, turned, (), 0, None, following.held)
        self.chunk_slots(plan.frames)  # made now: what is made while a graph is recorded belongs to the graph

    def set(self, plan: ChunkPass, following: ChunkPass | None = None) -> None:
        """The numbers of the next block."""
        _write(self._plan.rotation, plan.rotation)
        if following is not None:
            _write(self._following.rotation, following.rotation)
        if self.sink_rotation is not None and plan.sink_rotation is not None:
            _write(self.sink_rotation, plan.sink_rotation)
        n, first = self.tokens, self.chunk + self.sink
        frames = torch.tensor([move.slot - first + i for move in plan.moves for i in range(move.count)])
        slots = (frames[:, None] * n + torch.arange(n)).flatten()
        assert len(slots) == len(self.slots), "a full cache keeps as many frames of every block"
        self.slots.copy_(upload(slots, self.slots.device))

    def begin(self, frames: int, commit: bool) -> ChunkPass:
        assert frames == self._plan.frames
        return self._following

    def begin_pair(self, frames: int) -> tuple[ChunkPass, ChunkPass]:
        assert frames == self._plan.frames
        return self._plan, self._following

    def keep(self, layer: int, unrotated: Tensor, keys: Tensor, values: Tensor, plan: ChunkPass) -> None:
        """Into the ring at `slots`; the sink is turned to its new place."""
        own, ring = plan.frames * self.tokens, slice((self.chunk + self.sink) * self.tokens, None)
        newest = slice(own - len(self.slots), own)
        for kept, new in zip((self.keys, self.values), self.stored(layer, keys, values), strict=True):
            as_bytes(kept[layer, :, ring]).index_copy_(1, self.slots, as_bytes(new[:, newest]))
        if self.sink_rotation is not None:
            self._turn_sink(layer, self.sink_rotation)

    def advance(self, plan: ChunkPass) -> None:
        """The real cache counts."""


@dataclass(slots=True)
class Recorded:
    """A recording and the fixed tensors that it reads and writes."""

    cache: FixedCache
    actions: ActionCache | FixedRing | None
    block: Block
    out: Tensor
    recording: Recording
    context: Context | None  # that the fixed tensors hold


class RecordedStep(EagerStep):
    """What steps that are recorded once the window is full have in common: when a recording holds, and when it goes."""

    def __init__(self, transformer: WanTransformer, preset: LivePreset, rows: int, columns: int, window: int) -> None:
        super().__init__(transformer, preset, rows, columns, window)
        self._recorded: Recorded | None = None
        self._warm = False  # a block as those that are recorded has been drawn: kernels are loaded, plans made
        self._refused = False  # recording failed once
        self.recordings = 0  # made so far: more than one after a reset or a jump is expected, one a block is not

    def reset(self) -> None:
        super().reset()
        self._forget()

    def restore(self, state: StepState) -> None:
        super().restore(state)
        self._forget()

    def _forget(self) -> None:
        """The recording, where what it reads is no longer where it was."""
        if isinstance(self.actions, ActionCache):
            self._recorded = None

    @property
    def steady(self) -> bool:
        """Whether the next block does the same work as all after it."""
        full = self.cache.held == self.cache.window - self.preset.block
        return full and (self.actions is None or self.actions.full)


class GraphStep(RecordedStep):
    """`EagerStep`, recorded once the window is full."""

    name = "graph"

    def block(self, block: Block) -> Tensor:
        if block.first or block.given is not None or self._refused or not self.steady:
            return super().block(block)
        if not self._warm:
            self._warm = True
            return super().block(block)
        plan = self.cache.begin(self.preset.block, True)
        recorded = self._recorded or self._record(block, plan)
        if recorded is None:
            return super().block(block)
        self._recorded = recorded
        recorded.cache.set(plan)
        if isinstance(recorded.actions, FixedRing) and isinstance(self.actions, ActionRing):
            recorded.actions.set(self.actions)
        fill(recorded, block)
        recorded.recording.replay()
        self.cache.advance(plan)
        self.memory.keep(plan.frames)
        return recorded.out.clone()

    def _record(self, block: Block, plan: ChunkPass) -> Recorded | None:
        """None, after one line, where it cannot be recorded."""
        cache, out = FixedCache(self.cache, plan), torch.empty_like(block.noise[0])
        cache.set(plan)
        actions = fixed_actions(self.actions, plan.frames, (0,))
        fixed, memory = fixed_block(block), Memory(cache, actions)

        def work() -> None:
            latents = self.denoised(fixed, memory)
            self.shown(latents, self.preset.schedule.context_noise, fixed, memory, commit=True)
            out.copy_(latents)

        recording = recorded_work(work, out.device, self)
        if recording is None:
            self._refused = True
            return None
        self.recordings += 1
        return Recorded(cache, actions, fixed, out, recording, block.context)


def fixed_actions(
    actions: ActionCache | ActionRing | None, frames: int, aheads: tuple[int, ...]
) -> ActionCache | FixedRing | None:
    """What is remembered of actions as a recording sees it. Only once all of it is full."""
    if isinstance(actions, ActionRing):
        return FixedRing(actions, frames, aheads)
    if actions is not None:
        actions.fix()
    return actions


def recorded_work(work: Callable[[], None], device: torch.device, step: EagerStep) -> Recording | None:
    """`work` recorded; None, after one line, where that fails."""
    state = None if device.type == "cuda" else EagerStep.snapshot(step)

    def undo() -> None:
        assert state is not None
        step.cache.restore(state.cache)
        if step.actions is not None and state.actions is not None:
            step.actions.put_back(state.actions)

    try:
        return record(work, device, undo)
    except RuntimeError as error:
        logger.warning("blocks are drawn pass by pass: recording failed (%s)", str(error).split("\n")[0][:200])
        return None


def fill(recorded: Recorded, block: Block) -> None:
    """Write a block's inputs into the fixed tensors; words only where they have changed."""
    write_block(recorded.block, block)
    if block.context is not recorded.context:
        for kept, told in zip(recorded.block.context.layers, block.context.layers, strict=True):
            for field in fields(LayerContext):
                old, new = getattr(kept, field.name), getattr(told, field.name)
                if old is not None:
                    old.copy_(new, non_blocking=True)
        recorded.context = block.context


def write_block(fixed: Block, block: Block) -> None:
    """All but the words."""
    for old, new in zip(fixed.noise, block.noise, strict=True):
        old.copy_(new, non_blocking=True)
    if fixed.seen is not None and block.seen is not None:
        fixed.seen.copy_(block.seen, non_blocking=True)
    if fixed.rows is not None and block.rows is not None:
        fixed.rows.keyboard.copy_(block.rows.keyboard, non_blocking=True)
        if fixed.rows.mouse is not None and block.rows.mouse is not None:
            fixed.rows.mouse.copy_(block.rows.mouse, non_blocking=True)


def _copied(rotation: Rotation) -> Rotation:
    return Rotation(rotation.cos.clone(), rotation.sin.clone())


def _write(fixed: Rotation, rotation: Rotation) -> None:
    fixed.cos.copy_(rotation.cos, non_blocking=True)
    fixed.sin.copy_(rotation.sin, non_blocking=True)


def fixed_block(block: Block) -> Block:
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
