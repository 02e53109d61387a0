"""Where an engine's cache holds which frame: the `[sink | ring]` twin of `kv_cache.KVCache`'s `[chunk | sink | ring]`.

`KVCache` gives the chunk slots of its own and copies them on a commit. An engine writes where it is told, so the chunk
is written straight into the place of the frames that leave the window, by every pass, and the pass over the clean
chunk leaves what is kept: nothing is copied. Both attend to the same frames: of a window of W, the sink, the newest
W - sink - chunk frames, and the chunk. Rows lie `[H, rows, d]` here and `[rows, H, d]` there.

Frame f lies in slot f while the sink fills, then in slot sink + (f - sink) mod (window - sink). Until the ring is full
the slots that count are a prefix, afterwards all of them; so a length and an index say everything.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .chunk_graph import ChunkShape
from .layers import RotaryPositions, Rotation, rotate


@dataclass(frozen=True, slots=True)
class Place:
    """What a pass over the chunk that begins with frame `first` is told."""

    first: int
    write_index: int  # rows
    kv_length: int


@dataclass(frozen=True, slots=True)
class RingState:
    """For snapshots."""

    next: int
    sink_at: int
    unrotated: Tensor | None


class EngineRing:
    """The bookkeeping of one walk, on the host, and the sink's keys, which are turned as the ring rolls.

    `keys` is `[layers, H, window * N, d]`, the memory that the engine writes to.
    """

    def __init__(self, shape: ChunkShape, keys: Tensor) -> None:
        self._shape, self._keys = shape, keys
        self._positions = RotaryPositions(shape.config.head_width)
        self._sink_positions = RotaryPositions(shape.config.head_width)
        self._grid = shape.rows // shape.config.patch[1], shape.columns // shape.config.patch[2]
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self.next = 0
        self._sink_at = 0  # position of the sink's first frame
        self._unrotated: Tensor | None = None  # [layers, H, sink * N, d] float32, once the sink is full

    def place(self) -> Place:
        """Of the next chunk: the same for all of its passes."""
        s, first = self._shape, self.next
        ring = s.window - s.sink
        slot = first if first < s.sink else s.sink + (first - s.sink) % ring
        return Place(first, slot * s.frame, min(first + s.chunk, s.window) * s.frame)

    def rotation(self) -> Rotation:
        """Of the next chunk's tokens."""
        return self._positions.at(self.next, self._shape.chunk, *self._grid, self._keys.device)

    def advance(self) -> None:
        """After the pass over the clean chunk: it is the newest part of the past now."""
        s = self._shape
        self.next += s.chunk
        if not s.sink or self.next < s.sink:
            return
        if self._unrotated is None:
            self._unrotated = rotate(self._sink().float(), _back(self._sink_rotation())).transpose(1, 2)
        # the sink's place is just before the oldest frame of the ring that the next chunk attends to
        held = min(self.next - s.sink, s.window - s.sink - s.chunk)
        at = self.next - held - s.sink
        if at != self._sink_at:
            self._sink_at = at
            turned = rotate(self._unrotated.transpose(1, 2), self._sink_rotation())
            self._sink().copy_(turned)

    def snapshot(self) -> RingState:
        unrotated = None if self._unrotated is None else self._unrotated.clone()
        return RingState(self.next, self._sink_at, unrotated)

    def restore(self, state: RingState) -> None:
        """The keys themselves are restored by their owner."""
        self.next, self._sink_at = state.next, state.sink_at
        self._unrotated = None if state.unrotated is None else state.unrotated.clone()

    def _sink(self) -> Tensor:
        """A view `[layers, sink * N, H, d]`."""
        return self._keys[:, :, : self._shape.sink * self._shape.frame].transpose(1, 2)

    def _sink_rotation(self) -> Rotation:
        return self._sink_positions.at(self._sink_at, self._shape.sink, *self._grid, self._keys.device)


def _back(rotation: Rotation) -> Rotation:
    return Rotation(rotation.cos, -rotation.sin)
