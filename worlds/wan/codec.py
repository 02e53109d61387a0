"""What a causal video autoencoder is to the rest: a `VideoCodec` without state, and the `StreamState` it is given.

A causal convolution needs the last frames of its own input. Those few tensors are the whole state of a stream; they are
held by the caller, not by the network, so that one network serves any number of sessions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, Self, TypeVar

import torch
from torch import Tensor

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class StreamState:
    """What one end of a stream looks back on."""

    caches: tuple[Tensor, ...]  # the newest inputs of each causal layer, in the order in which they are met
    seen: int = 0  # latents so far

    @property
    def nbytes(self) -> int:
        return sum(cache.nbytes for cache in self.caches)

    def clone(self) -> Self:
        """A copy that shares no memory."""
        return replace(self, caches=tuple(cache.clone() for cache in self.caches))


class Past:
    """The caches of one call: handed out in the order in which the layers meet them, and filled again for the next.

    `reuse` writes into the given tensors (constant addresses, half the memory); else new ones are made.
    """

    def __init__(self, caches: Sequence[Tensor], time: int, first: bool, reuse: bool) -> None:
        self.first = first  # whether this is the first latent of the stream
        self.kept: list[Tensor] = []
        self._time, self._reuse = time, reuse  # the dimension of time
        self._old: Iterator[Tensor] = iter(caches)

    def join(self, x: Tensor) -> Tensor:
        """`x` with its past in front; the newest frames are kept for the next call."""
        old = next(self._old)
        joined = torch.cat([old, x], self._time)
        self._keep(old, joined)
        return joined

    def put(self, x: Tensor) -> None:
        """Keep the newest frames of `x`, whatever was before."""
        self._keep(next(self._old), x)

    def skip(self) -> None:
        """Keep what was before."""
        old = next(self._old)
        self.kept.append(old if self._reuse else old.clone())

    def _keep(self, old: Tensor, x: Tensor) -> None:
        count = old.shape[self._time]
        newest = x.narrow(self._time, x.shape[self._time] - count, count)
        # A copy, since a view would hold all of x in memory.
        self.kept.append(old.copy_(newest) if self._reuse else newest.clone())


D = TypeVar("D", bound=StreamState)
E = TypeVar("E", bound=StreamState)
S = TypeVar("S", bound=StreamState)


class VideoCodec(Protocol[D, E]):
    """A causal video autoencoder. B batch, T latent frames, F frames of video, C channels of a latent cell."""

    @property
    def channels(self) -> int: ...  # C
    @property
    def cell_px(self) -> int: ...  # pixels per latent cell, each way
    def frames(self, before: int, latents: int) -> int:
        """How many frames `latents` more latents decode to after `before` of the same stream."""
        ...

    def group(self, before: int) -> int:
        """How many frames make the next latent after `before` of the same stream."""
        ...

    def decode(self, latents: Tensor, state: D | None = None, *, reuse: bool = False) -> tuple[Tensor, D]:
        """`[B, C, T, h, w]` as the diffusion model draws them to rgb `[B, 3, F, H, W]` in [-1, 1]; H = h * cell_px."""
        ...

    def encode(self, rgb: Tensor, state: E | None = None, *, reuse: bool = False) -> tuple[Tensor, E]:
        """rgb in whole groups `[B, 3, F, H, W]` in [-1, 1] to latents `[B, C, T, h, w]` for the diffusion model."""
        ...


def four_to_one(before: int, latents: int) -> int:
    """Frames of `latents` latents after `before`: four each, but the first latent of a stream gives one.

    Raises ValueError on a negative number.
    """
    if before < 0 or latents < 0:
        raise ValueError(f"latents are counted from 0, got {before} before and {latents} more; count from the reset")
    return 4 * latents - (3 if latents and not before else 0)


def check_latents(latents: Tensor, channels: int) -> None:
    """Raises ValueError unless `latents` are floating point `[B, channels, T, h, w]`, none of them 0."""
    if latents.ndim != 5 or not latents.is_floating_point():
        raise ValueError(
            f"latents must be floating point [B, {channels}, T, h, w], got {latents.dtype}{list(latents.shape)}; add "
            "the missing dimension or convert them"
        )
    if latents.shape[1] != channels:
        raise ValueError(
            f"latents of this decoder have {channels} channels, got {latents.shape[1]} in {list(latents.shape)}; "
            "choose the decoder of that model, or move the channels to dimension 1"
        )
    if not latents.numel():
        raise ValueError(f"there are no latents in {list(latents.shape)}; give at least one")


def check_rgb(rgb: Tensor, cell_px: int) -> None:
    """Raises ValueError unless `rgb` is floating point `[B, 3, F, H, W]`, H and W multiples of `cell_px`, none 0."""
    if rgb.ndim != 5 or not rgb.is_floating_point():
        raise ValueError(
            f"frames must be floating point [B, 3, F, H, W], got {rgb.dtype}{list(rgb.shape)}; from_pictures makes "
            "them from uint8 pictures"
        )
    if rgb.shape[1] != 3:
        raise ValueError(
            f"frames have 3 channels, red green blue, got {rgb.shape[1]} in {list(rgb.shape)}; convert them"
        )
    if not rgb.numel():
        raise ValueError(f"there are no frames in {list(rgb.shape)}; give at least one")
    height, width = rgb.shape[3:]
    if height % cell_px or width % cell_px:
        fits = [max(cell_px, round(size / cell_px) * cell_px) for size in (height, width)]
        raise ValueError(
            f"frames must be multiples of {cell_px} pixels high and wide, got {height}x{width} (height x width); "
            f"resize them to {fits[0]}x{fits[1]}"
        )


def opened(kind: type[S], state: S | None, shapes: Sequence[Shape], like: Tensor) -> S:
    """`state`, or at the beginning of a stream, where it is None, a `kind` of zeros of the type and device of `like`.

    Raises ValueError unless its caches have these shapes, which are of what is given now.
    """
    if state is None:
        return kind(tuple(like.new_zeros(shape) for shape in shapes))
    had = [tuple(cache.shape) for cache in state.caches]
    if had != list(shapes):
        raise ValueError(
            f"the stream's state is of another batch, size or model: its first cache is {had[:1]}, this call needs "
            f"{list(shapes[:1])}; keep to one size, or begin a new stream with state=None"
        )
    return state
