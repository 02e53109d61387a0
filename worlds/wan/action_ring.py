"""What the action modules of a walk remember, in rings of fixed memory: for the kernels `mouse_attention` and
`keyboard_attention`, and for recordings.

A ring has one slot for each latent frame of the window. All passes over a chunk write its keys, normalised and not
rotated, to the same slots, those of the frames that leave the window; the pass over the clean chunk leaves what is
kept. Which slots those are, and where every slot stands in time, lies in small tensors that are written before a chunk
and read on the device. `ActionCache` is the plain form; snapshots go between both.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...kernels.action_attention import keyboard_attention, mouse_attention, time_angles
from .actions import ActionConfig, ActionModule, ActionRows
from .upload import upload

Kept = tuple[Tensor, Tensor]  # keys and values of the newest frames, oldest first, [N, frames, H, d] each


@dataclass(frozen=True, slots=True)
class RingPlace:
    """Where one chunk is written and what it attends to, on the device."""

    frame_slots: Tensor  # int32 [T]
    positions: Tensor  # int32 [slots], below 0 where a slot is not attended to
    query_positions: Tensor  # int32 [T]

    def set(self, other: RingPlace) -> None:
        """Take over the numbers of another chunk of the same length."""
        self.frame_slots.copy_(other.frame_slots, non_blocking=True)
        self.positions.copy_(other.positions, non_blocking=True)
        self.query_positions.copy_(other.query_positions, non_blocking=True)


class ActionRing:
    """The memory of one walk; owned by its stepper. `apply` is the pass of a block's action module."""

    def __init__(
        self, config: ActionConfig, places: int, dtype: torch.dtype, device: torch.device, batch: int = 1
    ) -> None:
        """`places`: tokens of a latent frame. Allocates everything, once."""
        self.config, self._device = config, device
        heads = (config.heads, config.head_width)
        self._shapes = {"keyboard": (batch, config.window, *heads), "mouse": (batch * places, config.window, *heads)}
        branches = ("keyboard", "mouse") if config.mouse else ("keyboard",)
        self._rings = {
            branch: torch.zeros(config.blocks, 2, *self._shapes[branch], dtype=dtype, device=device)
            for branch in branches
        }
        self._angles = time_angles(config.window + 1, config.rotated, config.theta, device)
        self._planned: dict[tuple[int, int], RingPlace] = {}
        self.reset()

    def reset(self) -> None:
        """Forget the walk."""
        self.next = 0  # latent frames committed
        self._planned.clear()

    @property
    def full(self) -> bool:
        """Whether what is attended to no longer grows."""
        return self.next >= self.config.window

    @property
    def bytes(self) -> int:
        """Held, from the beginning."""
        return sum(ring.nbytes for ring in self._rings.values())

    def place(self, frames: int, ahead: int = 0) -> RingPlace:
        """Of the next chunk of `frames` frames; with `ahead`, of the one after so many more."""
        first = self.next + ahead
        key = (first, frames)
        if key not in self._planned:
            self._planned = {k: v for k, v in self._planned.items() if k[0] >= self.next}
            self._planned[key] = self._made(first, frames)
        return self._planned[key]

    def _made(self, first: int, frames: int) -> RingPlace:
        window = self.config.window
        held = min(first, window - frames)
        slots = [(first + i) % window for i in range(frames)]
        positions = [-1] * window
        for i in range(held + frames):
            positions[(first - held + i) % window] = i
        numbers = torch.tensor([*slots, *positions, *range(held, held + frames)], dtype=torch.int32)
        parts = upload(numbers, self._device).split([frames, window, frames])
        return RingPlace(*(part.clone() for part in parts))  # each on a border of its own

    def advance(self, frames: int) -> None:
        """The chunk's last pass was over clean frames: keep them."""
        self.next += frames

    def apply(self, module: ActionModule, x: Tensor, grid: tuple[int, int, int], rows: ActionRows, layer: int,
              place: RingPlace) -> Tensor:  # fmt: skip
        """Tokens `[B, T * h * w, dim]` of a chunk through block `layer`'s module."""
        frames = x.unflatten(1, (grid[0], grid[1] * grid[2]))  # [B, T, S, dim]
        times = (place.frame_slots, place.positions, place.query_positions, self._angles)
        if self.config.mouse:
            assert rows.mouse is not None
            ring = self._rings["mouse"][layer]
            seen = mouse_attention(module.t_qkv(_mixed(module, frames, rows.mouse)), ring[0], ring[1], *times)
            frames = frames + module.proj_mouse(seen)
        ring = self._rings["keyboard"][layer]
        told = module.keyboard_embed(rows.keyboard.to(frames)).flatten(2)  # [B, T, rows * hidden]
        keys_values = module.keyboard_attn_kv(told)
        seen = keyboard_attention(module.mouse_attn_q(frames), keys_values, ring[0], ring[1], *times)
        return (frames + module.proj_keyboard(seen)).flatten(1, 2)

    def snapshot(self) -> list[Kept | None]:
        """Copies of what is kept, as `ActionCache.snapshot` has them."""
        held = min(self.next, self.config.window)
        if not held:
            return [None] * (self.config.blocks * len(self._rings))
        order = [(self.next - held + i) % self.config.window for i in range(held)]
        return [(pair[0][:, order], pair[1][:, order]) for ring in self._rings.values() for pair in ring]

    def put_back(self, state: list[Kept | None]) -> None:
        """What a pass has overwritten, from a snapshot taken just before it."""
        self.restore(state, self.next)

    def restore(self, state: list[Kept | None], following: int | None = None) -> None:
        """Continue from a snapshot of the same model; `following`: frames committed until then, where it matters.

        Only the newest frames are kept, so a walk goes on from slot 0 as well as from any other.
        """
        held = 0 if state[0] is None else state[0][0].shape[1]
        self.reset()
        self.next = held if following is None else following
        pairs = [pair for ring in self._rings.values() for pair in ring]
        order = [(self.next - held + i) % self.config.window for i in range(held)]
        for pair, kept in zip(pairs, state, strict=True):
            if kept is not None:
                pair[0][:, order] = kept[0].to(pair.dtype)
                pair[1][:, order] = kept[1].to(pair.dtype)


def _mixed(module: ActionModule, frames: Tensor, mouse: Tensor) -> Tensor:
    """Tokens and mouse numbers `[B, T, rows, 2]` through the first layers, `[B, T, S, width]`."""
    first, dim = module.mouse_mlp[0], frames.shape[-1]
    assert isinstance(first, nn.Linear)
    # the first layer on (token, mouse numbers) without writing the numbers beside every token
    told = F.linear(mouse.flatten(2).to(frames), first.weight[:, dim:], first.bias)  # [B, T, width]
    mixed: Tensor = module.mouse_mlp[1:](F.linear(frames, first.weight[:, :dim]) + told[:, :, None])
    return mixed


class RingActions:
    """The rows of one block; what `FusedTransformer.chunk` calls the modules with. `ahead`: frames that are shown
    before it in the same pass and not yet kept."""

    def __init__(self, rows: ActionRows, ring: ActionRing, ahead: int = 0) -> None:
        self._rows, self._ring, self._ahead = rows, ring, ahead

    def __call__(self, module: nn.Module, x: Tensor, grid: tuple[int, int, int], layer: int, commit: bool) -> Tensor:
        assert isinstance(module, ActionModule)
        return self._ring.apply(module, x, grid, self._rows, layer, self._ring.place(grid[0], self._ahead))


class FixedRing(ActionRing):
    """A full ring as a recording sees it: the places of its chunks lie in tensors, written before each replay."""

    def __init__(self, ring: ActionRing, frames: int, aheads: tuple[int, ...]) -> None:
        """Shares all tensors with `ring`. `aheads`: where the recorded work shows chunks, from the next frame on."""
        self.__dict__.update(ring.__dict__)
        self._fixed = {ahead: _copied(ring.place(frames, ahead)) for ahead in aheads}
        self._done = 0  # frames that the recorded work has shown clean so far

    def set(self, ring: ActionRing) -> None:
        """The numbers of the next block."""
        for ahead, fixed in self._fixed.items():
            fixed.set(ring.place(len(fixed.frame_slots), ahead))

    def place(self, frames: int, ahead: int = 0) -> RingPlace:
        return self._fixed[self._done + ahead]

    def advance(self, frames: int) -> None:
        """What follows in the recorded work is the next chunk. The real ring counts for itself."""
        self._done += frames


def _copied(place: RingPlace) -> RingPlace:
    return RingPlace(place.frame_slots.clone(), place.positions.clone(), place.query_positions.clone())
