"""What the blocks of a walk are drawn from: noise made on the host, so that a seed gives the same walk everywhere.

Making it takes the host milliseconds in which a device would have nothing to do. Where the device works by itself the
noise of the next block is made while it draws this one; the numbers are the same.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..sampler import draw_noise
from .upload import upload


class BlockNoise:
    """Not thread-safe."""

    def __init__(self, shape: tuple[int, ...], device: torch.device, dtype: torch.dtype) -> None:
        """`shape` of one block's latents `[1, C, T, h, w]`."""
        self._shape, self._device, self._dtype = shape, device, dtype
        self._generator = torch.Generator()
        self._early: list[Tensor] = []
        self._before: Tensor | None = None  # the generator's state before those were made

    def seed(self, seed: int) -> None:
        """A new walk. `seed` is in [0, 2^63)."""
        self._generator.manual_seed(seed)
        self._forget()

    def take(self, count: int) -> tuple[Tensor, ...]:
        """The next `count` noises, on the device."""
        if self._early and len(self._early) != count:  # another block came than the one that was expected
            self.state = self.state
        taken = tuple(self._early) or self._made(count)
        self._forget()
        return taken

    def prepare(self, count: int) -> None:
        """Make the noises of the next `take` now. They may never be taken."""
        if not self._early:
            self._before = self._generator.get_state()
            self._early = list(self._made(count))

    @property
    def state(self) -> Tensor:
        """Where the numbers have come to, whatever was made early."""
        return self._generator.get_state() if self._before is None else self._before

    @state.setter
    def state(self, state: Tensor) -> None:
        self._generator.set_state(state)
        self._forget()

    def _made(self, count: int) -> tuple[Tensor, ...]:
        return tuple(upload(draw_noise(self._shape, self._generator), self._device, self._dtype) for _ in range(count))

    def _forget(self) -> None:
        self._early, self._before = [], None
