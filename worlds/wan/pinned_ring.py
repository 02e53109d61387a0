"""Buffers on the host that a device copies pictures into while the host does something else.

A buffer that is in use is never written: it is free again once nobody holds the array that was handed out, nor a part
of it. Where all are held, a fresh one of ordinary memory is given, which costs a wait and no correctness.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(slots=True)
class _Slot:
    memory: Tensor
    reader: weakref.ref[Any] | None = None

    @property
    def free(self) -> bool:
        return self.reader is None or self.reader() is None


class PinnedRing:
    """Buffers of one shape, uint8; made when they are first needed, at most `slots`. One thread owns it."""

    def __init__(self, shape: tuple[int, ...], slots: int, pinned: bool = True) -> None:
        """`pinned` memory needs a CUDA device. Raises ValueError without a slot."""
        if slots < 1:
            raise ValueError(f"a ring needs slots, got {slots}")
        self._shape, self._most, self._pinned = shape, slots, pinned
        self._slots: list[_Slot] = []
        self._next = 0
        self.refused = 0  # times that every slot was held

    @property
    def bytes(self) -> int:
        """Pinned so far."""
        return sum(slot.memory.nbytes for slot in self._slots)

    def take(self) -> tuple[Tensor, NDArray[np.uint8]]:
        """A buffer to copy into, and the same memory as the array that readers get. Whoever fills it holds the array
        until it is filled."""
        slot = self._free()
        if slot is None:
            self.refused += 1
            memory = torch.empty(self._shape, dtype=torch.uint8)
            return memory, memory.numpy()
        array: NDArray[np.uint8] = slot.memory.numpy()  # a new one each time: its life is the reader's
        slot.reader = weakref.ref(array)
        return slot.memory, array

    def _free(self) -> _Slot | None:
        """The slot that was used longest ago, of those that nobody holds."""
        count = len(self._slots)
        for i in range(count):
            slot = self._slots[(self._next + i) % count]
            if slot.free:
                self._next = (self._next + i + 1) % count
                return slot
        if count == self._most:
            return None
        self._slots.append(_Slot(torch.empty(self._shape, dtype=torch.uint8, pin_memory=self._pinned)))
        return self._slots[-1]
