"""Where an engine's cache holds which frame: the `[sink | ring]` twin of `kv_cache.KVCache`'s `[chunk | sink | ring]`.

`KVCache` gives the chunk slots of its own and copies them on a commit. An engine writes where it is told, so the chunk
is written straight into the place of the frames that leave the window, by every pass, and the pass over the clean
chunk leaves what is kept: nothing is copied. Both attend to the same frames: of a window of W, the sink, the newest
W - sink - chunk frames, and the chunk. Rows lie `[H, rows, d]` here and `[rows, H, d]` there.

Frame f lies in slot f while the sink fills, then in slot sink + (f - sink) mod (window - sink). Until the ring is full
the slots that count are a prefix, afterwards all of them; so a length and an index say everything. The sink's keys are
turned to the places before the ring as in `KVCache`; what they were before rotation is worked out from the cache.

Where the chunk does not divide the ring, a chunk would be written in two pieces, which the engine cannot do: there it
always lies first, `[sink | chunk | past]`, and a commit moves the newest frames on (`shift`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .kv_cache import CacheState
from .layers import RotaryPositions, Rotation, rotate
from .pass_graph import ChunkShape


@dataclass(frozen=True, slots=True)
class Place:
    """What a pass over the chunk that begins with frame `first` is told."""

    first: int
    write_index: int  # rows
    kv_length: int


class EngineRing:
    """The bookkeeping of one walk, on the host, and the sink's keys, which are turned as the ring rolls.

    Keys and values are `[layers, H, window * N, d]`, the memory that the engine writes to.
    """

    def __init__(self, shape: ChunkShape, keys: Tensor, values: Tensor) -> None:
        self._shape, self._keys, self._values = shape, keys, values
        self._positions = RotaryPositions(shape.config.head_width)
        self._sink_positions = RotaryPositions(shape.config.head_width)
        self._grid = shape.rows // shape.config.patch[1], shape.columns // shape.config.patch[2]
        self._ring = shape.window - shape.sink
        self._unrotated = torch.zeros_like(self._sink(shape.sink), dtype=torch.float32)
        self.reset()

    def reset(self, first: int = 0) -> None:
        """Forget everything; the next chunk begins with frame `first` of the session."""
        self.next = first
        self._sink_from = self._sink_at = first  # frame of the sink's first slot, and its position
        self._sink_held = 0
        self._ring_from = first + self._shape.sink  # the frame that the first slot of the ring held first

    def rewind(self, frames: int, keep_sink: bool = True) -> None:
        """Forget the newest `frames` frames and the whole ring, to write them again: `KVCache.rewind`.

        Raises ValueError on frames that are not whole chunks, or more than there were.
        """
        first = self.next - frames
        if frames < 0 or first < 0 or frames % self._shape.chunk:
            raise ValueError(
                f"{frames} frames cannot be written again after {self.next}, {self._shape.chunk} at a time"
            )
        if not keep_sink or not self.sink_before(first):
            self.reset(first)
            return
        self._sink_held = self.sink_before(first)
        self.next = first
        self._ring_from = first + self._shape.sink - self._sink_held
        self._turn()

    def place(self) -> Place:
        """Of the next chunk: the same for all of its passes."""
        s, first = self._shape, self.next
        if self._sink_held < s.sink:
            slot, held = self._sink_held, self._sink_held
        else:
            slot = s.sink + (0 if s.shifts else (first - self._ring_from) % self._ring)
            held = s.sink + min(first - self._ring_from, self._ring - s.chunk)
        return Place(first, slot * s.frame, (held + s.chunk) * s.frame)

    def rotation(self) -> Rotation:
        """Of the next chunk's tokens."""
        return self._positions.at(self.next, self._shape.chunk, *self._grid, self._keys.device)

    def advance(self) -> None:
        """After the pass over the clean chunk: it is the newest part of the past now."""
        s = self._shape
        if self._sink_held < s.sink:
            part = slice(self._sink_held * s.frame, (self._sink_held + s.chunk) * s.frame)
            self._unrotated[:, part] = rotate(self._sink(s.sink)[:, part].float(), _back(self.rotation()))
            self._sink_held += s.chunk
        elif s.shifts:
            held = min(self.next - self._ring_from, self._ring - s.chunk)
            for memory in (self._keys, self._values):
                shift(memory[:, :, s.sink * s.frame :], s.chunk * s.frame, held * s.frame)
        self.next += s.chunk
        self._turn()

    def _turn(self) -> None:
        """Bring the sink to its place, just before the oldest frame of the ring that the next chunk attends to."""
        s, held = self._shape, self._sink_held
        at = self.next - max(0, min(self.next - self._ring_from, self._ring - s.chunk)) - held
        if held and at != self._sink_at:
            rotation = self._sink_positions.at(at, held, *self._grid, self._keys.device)
            self._sink(held).copy_(rotate(self._unrotated[:, : held * s.frame], rotation))
        self._sink_at = at

    def snapshot(self) -> CacheState:
        """A copy, keys and values included."""
        numbers = self.next, self._ring_from, self._sink_from, self._sink_held, self._sink_at
        return CacheState(self._keys.clone(), self._values.clone(), self._unrotated.clone(), *numbers)

    def restore(self, state: CacheState) -> None:
        """Continue from a snapshot of a ring of the same shape. Raises ValueError on another's."""
        if state.keys.shape != self._keys.shape or state.unrotated is None:
            raise ValueError(
                f"a snapshot of {tuple(state.keys.shape)} does not fit a ring of {tuple(self._keys.shape)}"
            )
        self._keys.copy_(state.keys)
        self._values.copy_(state.values)
        self._unrotated.copy_(state.unrotated)
        self.next, self._ring_from, self._sink_from = state.next, state.ring_from, state.sink_from
        self._sink_held, self._sink_at = state.sink_held, state.sink_at

    def sink_before(self, frame: int) -> int:
        """Frames of the sink that lie before this frame of the session."""
        return max(0, min(self._sink_held, frame - self._sink_from))

    def _sink(self, frames: int) -> Tensor:
        """A view `[layers, frames * N, H, d]` of the sink's first frames."""
        return self._keys[:, :, : frames * self._shape.frame].transpose(1, 2)


def shift(memory: Tensor, chunk: int, held: int) -> None:
    """Of rows `[…, R, d]`, the chunk's first and `held` of the past behind them, oldest first: the newest R - chunk of
    both become the past."""
    both = torch.cat([memory[..., chunk : chunk + held, :], memory[..., :chunk, :]], -2)
    kept = min(held + chunk, memory.shape[-2] - chunk)
    memory[..., chunk : chunk + kept, :] = both[..., held + chunk - kept :, :]


def _back(rotation: Rotation) -> Rotation:
    return Rotation(rotation.cos, -rotation.sin)
