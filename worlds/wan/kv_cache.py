"""The past of a causal Wan transformer: keys and values of the sink, of the newest frames, and of the chunk at hand.

Slots are latent frames: `[chunk | sink | ring]`. All passes over a chunk write its keys to the same first slots; only
a commit copies them on, over the oldest frames of the ring. What is attended to is one contiguous part of one
buffer, so no pass allocates, masks or moves the past, and every position is known on the host.

Positions are relative to the cache: sink, then ring, then chunk, counted without a gap. Rotary attention sees only
differences of positions, so that comes without rotating the past anew for every chunk: ring and chunk are rotated by
their index in the session, which keeps their differences, and the sink's keys, which alone are also kept before
rotation, are turned to the places just before the ring whenever the ring has rolled. No difference exceeds the window,
however long the session. In absolute mode the sink keeps its first places, as upstream does.

All of it may be of eight bits (`eight_attention.py`), but for the sink's keys before rotation, which are not rounded
twice. Who asks for what is attended to is given numbers (`attended`) or the bytes themselves (`seen`).

`window` counts as upstream's `local_attn_size`: all frames that are attended to, sink and the chunk itself included.
Sources: guandeh17/Self-Forcing, NVlabs/LongLive v1.0 (`causal_model_infinity.py` for relative positions).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ...kernels.reference import quantised
from .config import WanConfig
from .eight_attention import STORED, AttentionScales, exact
from .layers import RotaryPositions, Rotation, rotate


@dataclass(frozen=True, slots=True)
class CacheState:
    """A copy of what is remembered, for snapshots."""

    keys: Tensor  # [L, B, kept frames * N, H, d]
    values: Tensor
    unrotated: Tensor | None  # the sink's keys
    next: int
    ring_from: int
    sink_from: int
    sink_held: int
    sink_at: int
    scales: Tensor | None = None  # that the walk has set, where it is of eight bits


@dataclass(frozen=True, slots=True)
class Move:
    """Frames of a chunk that a commit keeps: from its frame `source`, `count` of them, to slots from `slot` on."""

    source: int
    slot: int
    count: int


@dataclass(frozen=True, slots=True)
class ChunkPass:
    """One pass over a chunk, planned on the host: the same for all layers."""

    frames: int
    rotation: Rotation  # of the chunk
    moves: tuple[Move, ...]  # none where it does not commit
    sink_at: int  # position of the sink afterwards
    sink_rotation: Rotation | None  # where the sink has to be turned to it
    held: int  # frames of the past that are attended to


class KVCache:
    """The memory of one rollout, or of `batch` rollouts that advance together. Allocated once.

    Raises ValueError where sink and chunk do not fit into the window.
    """

    def __init__(
        self,
        config: WanConfig,
        rows: int,
        columns: int,
        window: int,
        *,
        chunk: int = 3,
        sink: int = 0,
        batch: int = 1,
        relative: bool = True,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str | None = None,
        scales: AttentionScales | None = None,
    ) -> None:
        """`rows` x `columns` cells of a latent frame; `chunk` is the most frames that one pass draws. With `scales`
        keys and values are kept as float8."""
        if chunk < 1 or sink < 0 or window < chunk + sink:
            raise ValueError(f"a window of {window} frames does not hold {sink} of sink and a chunk of {chunk}")
        self.tokens = config.tokens(rows, columns)
        self.grid = rows // config.patch[1], columns // config.patch[2]
        self.window, self.chunk, self.sink, self.relative = window, chunk, sink, relative
        shape = (config.layers, batch, window * self.tokens, config.heads, config.head_width)
        self.scales, self._dtype = scales, dtype
        stored = dtype if scales is None else STORED
        self.keys = torch.zeros(shape, dtype=stored, device=device)
        self.values = torch.zeros(shape, dtype=stored, device=device)
        kept = (*shape[:2], sink * self.tokens, *shape[3:])
        self._unrotated = torch.zeros(kept, dtype=dtype, device=device) if relative and sink else None
        self._positions = RotaryPositions(config.head_width)
        self._sink_positions = RotaryPositions(config.head_width)
        self._next_positions = RotaryPositions(config.head_width)
        self._ring = window - chunk - sink
        self._slots: dict[int, Tensor] = {}
        self.reset()

    @staticmethod
    def bytes(
        config: WanConfig,
        frames: int,
        tokens: int,
        dtype: torch.dtype,
        *,
        sink: int = 0,
        batch: int = 1,
        relative: bool = True,
        eight: bool = False,
    ) -> int:
        """What a cache of a window of `frames` takes, at `tokens` tokens a latent frame; `eight`: kept as float8."""
        frame = config.layers * batch * tokens * config.dim
        stored = STORED.itemsize if eight else dtype.itemsize
        return frame * (2 * frames * stored + (sink if relative else 0) * dtype.itemsize)

    @property
    def allocated(self) -> int:
        """Bytes held on the device."""
        kept = (self.keys, self.values, self._unrotated, self.scales)
        return sum(part.nbytes for part in kept if part is not None)

    @property
    def batch(self) -> int:
        return self.keys.shape[1]

    @property
    def held(self) -> int:
        """Frames of the past that the next chunk attends to, the sink's included."""
        return self._sink_held + self._ring_held(self.next)

    def _ring_held(self, next_frame: int) -> int:
        return max(0, min(next_frame - self._ring_from, self._ring))

    def sink_before(self, frame: int) -> int:
        """Frames of the sink that lie before this frame of the session."""
        return max(0, min(self._sink_held, frame - self._sink_from))

    def reset(self, first: int = 0) -> None:
        """Forget everything; the next chunk begins with frame `first` of the session."""
        self.next = first
        self._sink_from = self._sink_at = first
        self._sink_held = 0
        self._ring_from = first + self.sink  # the frame that the first slot of the ring held first

    def rewind(self, frames: int, keep_sink: bool = True) -> None:
        """Forget the newest `frames` frames and the whole ring, to write them again. The sink goes too unless it is
        kept; then its frames that are to be written again go, and the others stay. Raises ValueError beyond the start.
        """
        first = self.next - frames
        if frames < 0 or first < 0:
            raise ValueError(f"{frames} frames cannot be written again after {self.next} frames")
        if not keep_sink or not self.sink_before(first):
            self.reset(first)
            return
        self._sink_held = self.sink_before(first)
        self.next = first
        self._ring_from = first + self.sink - self._sink_held
        at = self._sink_place(first, self._sink_held)
        turned = self._sink_rotation(at, self._sink_held)
        if turned is not None:
            for layer in range(self.keys.shape[0]):
                self._turn_sink(layer, turned)
        self._sink_at = at

    def begin(self, frames: int, commit: bool) -> ChunkPass:
        """Plan a pass over the next `frames` frames. Raises ValueError on a chunk that is too long; right after a
        rewind it may have any length, because there is no ring to attend to."""
        if frames < 1 or (frames > self.chunk and self._ring_held(self.next)):
            raise ValueError(f"this cache takes chunks of 1 to {self.chunk} frames, got {frames}")
        rotation = self._positions.at(self.next, frames, *self.grid, self.keys.device)
        if not commit:
            return ChunkPass(frames, rotation, (), self._sink_at, None, self.held)
        filled = min(self.sink, self._sink_held + frames)
        at = self._sink_place(self.next + frames, filled)
        return ChunkPass(frames, rotation, tuple(self._moves(frames)), at, self._sink_rotation(at, filled), self.held)

    def begin_pair(self, frames: int) -> tuple[ChunkPass, ChunkPass]:
        """Plan a pass that commits a clean chunk and, layer by layer after it, reads the noisy one that follows. Raises
        ValueError on a chunk that is too long."""
        first, following = self.begin(frames, True), self.next + frames
        rotation = self._next_positions.at(following, frames, *self.grid, self.keys.device)
        held = min(self.sink, self._sink_held + frames) + self._ring_held(following)
        return first, ChunkPass(frames, rotation, (), first.sink_at, None, held)

    def attended(self, layer: int, keys: Tensor, values: Tensor, plan: ChunkPass) -> tuple[Tensor, Tensor]:
        """The chunk's keys and values, then the past's, each `[B, M, H, d]`, keys rotated. For unrotated keys and
        values `[B, T * N, H, d]` of the chunk."""
        keys = rotate(keys, plan.rotation)
        self.fit(layer, values, plan)
        own, n = plan.frames * self.tokens, self.tokens
        if plan.frames > self.chunk:
            sink = self._read(layer, slice(self.chunk * n, (self.chunk + self._sink_held) * n))
            return torch.cat([keys, sink[0]], 1), torch.cat([values, sink[1]], 1)
        first = self.chunk * n - own
        self._write(layer, slice(first, first + own), keys, values)
        return self._read(layer, slice(first, (self.chunk + plan.held) * n))

    def fit(self, layer: int, values: Tensor, plan: ChunkPass) -> None:
        """Scales for values of eight bits, while nothing is remembered that was written with others."""
        if self.scales is not None and not plan.held:
            self.scales.fit(layer, values)

    def _read(self, layer: int, part: slice) -> tuple[Tensor, Tensor]:
        """Numbers; as they lie where they are of sixteen bits or more."""
        keys, values = self.keys[layer, :, part], self.values[layer, :, part]
        if self.scales is None:
            return keys, values
        scales = self.scales.layers[layer]
        return exact(keys, scales.keys, self._dtype), exact(values, scales.values, self._dtype)

    def _write(self, layer: int, part: slice, keys: Tensor, values: Tensor) -> None:
        stored = self.stored(layer, keys, values)
        self.keys[layer, :, part], self.values[layer, :, part] = stored

    def stored(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Numbers, or bytes of this cache, as it keeps them."""
        if self.scales is None or keys.dtype == STORED:
            return keys, values
        scales = self.scales.layers[layer]
        return quantised(keys, scales.keys), quantised(values, scales.values)

    def chunk_slots(self, frames: int) -> Tensor:
        """Where a chunk of `frames` begins in the buffers, int64 `[1]` on the device: for kernels that write there."""
        if frames not in self._slots:
            first = (self.chunk - frames) * self.tokens
            self._slots[frames] = torch.full((1,), first, dtype=torch.long, device=self.keys.device)
        return self._slots[frames]

    def seen(self, layer: int, plan: ChunkPass) -> tuple[Tensor, Tensor]:
        """What `attended` returns, where the chunk's keys and values were written already."""
        part = slice((self.chunk - plan.frames) * self.tokens, (self.chunk + plan.held) * self.tokens)
        return self.keys[layer, :, part], self.values[layer, :, part]

    def keep(self, layer: int, unrotated: Tensor, keys: Tensor, values: Tensor, plan: ChunkPass) -> None:
        """Commit a chunk in one layer, after its attention: `keys` and `values` are those of `attended` or `seen`."""
        n = self.tokens
        for move in plan.moves:
            source = slice(move.source * n, (move.source + move.count) * n)
            target = slice(move.slot * n, (move.slot + move.count) * n)
            self._write(layer, target, keys[:, source], values[:, source])
            if self._unrotated is not None and move.slot < self.chunk + self.sink:
                at = (move.slot - self.chunk) * n
                self._unrotated[layer, :, at : at + move.count * n] = unrotated[:, source]
        if plan.sink_rotation is not None:
            self._turn_sink(layer, plan.sink_rotation)

    def advance(self, plan: ChunkPass) -> None:
        """Commit a chunk, after all its layers."""
        self._sink_held = min(self.sink, self._sink_held + plan.frames)
        self._sink_at = plan.sink_at
        self.next += plan.frames

    def snapshot(self) -> CacheState:
        """A copy of what is remembered; the chunk at hand is not part of it."""
        part = self._remembered(self.held)
        unrotated = None if self._unrotated is None else self._unrotated.clone()
        keys, values = self.keys[:, :, part].clone(), self.values[:, :, part].clone()
        numbers = self.next, self._ring_from, self._sink_from, self._sink_held, self._sink_at
        return CacheState(keys, values, unrotated, *numbers, None if self.scales is None else self.scales.of_walk())

    def restore(self, state: CacheState) -> None:
        """Continue from a snapshot of a cache of the same shape. Raises ValueError on another's."""
        part = self._remembered(state.keys.shape[2] // self.tokens)
        if self.keys[:, :, part].shape != state.keys.shape or (self._unrotated is None) != (state.unrotated is None):
            raise ValueError(
                f"a snapshot of {tuple(state.keys.shape)} does not fit a cache of {tuple(self.keys.shape)}"
            )
        if state.keys.dtype != self.keys.dtype:
            raise ValueError(f"a snapshot of {state.keys.dtype} does not fit a cache of {self.keys.dtype}")
        if self.scales is not None and state.scales is not None:
            self.scales.put_back(state.scales)
        self.keys[:, :, part] = state.keys
        self.values[:, :, part] = state.values
        if self._unrotated is not None and state.unrotated is not None:
            self._unrotated.copy_(state.unrotated)
        self.next, self._ring_from, self._sink_from = state.next, state.ring_from, state.sink_from
        self._sink_held, self._sink_at = state.sink_held, state.sink_at

    def _remembered(self, frames: int) -> slice:
        return slice(self.chunk * self.tokens, (self.chunk + frames) * self.tokens)

    def _moves(self, frames: int) -> Iterator[Move]:
        """Runs of frames whose slots follow each other. Frames that would be overwritten at once are left out."""
        to_sink = min(frames, self.sink - self._sink_held)
        if to_sink:
            yield Move(0, self.chunk + self._sink_held, to_sink)
        source = max(to_sink, frames - self._ring)
        while source < frames:
            slot = (self.next + source - self._ring_from) % self._ring
            count = min(frames - source, self._ring - slot)
            yield Move(source, self.chunk + self.sink + slot, count)
            source += count

    def _sink_place(self, next_frame: int, held: int) -> int:
        """Position of the sink's first frame when `next_frame` comes next: just before the oldest frame of the ring."""
        return next_frame - self._ring_held(next_frame) - held if self.relative else self._sink_from

    def _sink_rotation(self, at: int, held: int) -> Rotation | None:
        """For a sink of `held` frames that has to go to `at`; None where it is there already."""
        if not held or at == self._sink_at:
            return None
        return self._sink_positions.at(at, held, *self.grid, self.keys.device)

    def _turn_sink(self, layer: int, rotation: Rotation) -> None:
        assert self._unrotated is not None
        count = rotation.cos.shape[0]
        at = self.chunk * self.tokens
        turned = rotate(self._unrotated[layer, :, :count], rotation)
        self.keys[layer, :, at : at + count] = (
            turned if self.scales is None else quantised(turned, self.scales.layers[layer].keys)
        )
