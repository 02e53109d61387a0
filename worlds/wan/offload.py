"""Encoders that lie on the GPU only while they are needed.

A text encoder of 11 GB is used for a fraction of a second per prompt. What happens to it afterwards is a policy.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

import torch
from torch import nn


class Offload(Enum):
    """Where an encoder goes after use."""

    KEEP = "keep"  # stays on its device: prompts change all the time and there is room
    CPU = "cpu"  # into the host's memory: back within a second, costs as much there
    FREE = "free"  # nowhere: read from its file again at the next use


class OffloadedModule:
    """A network that is read at its first use and put aside by `offload`. Not thread-safe."""

    def __init__(self, source: nn.Module | Callable[[], nn.Module], device: torch.device) -> None:
        """`source` is a network, or a function that reads one onto the CPU."""
        self._module = source if isinstance(source, nn.Module) else None
        self._read = None if isinstance(source, nn.Module) else source
        self.device = device

    @property
    def loaded(self) -> bool:
        """Whether it takes memory anywhere."""
        return self._module is not None

    @property
    def on_device(self) -> bool:
        """Whether it lies on its device, ready to run."""
        return self._module is not None and _device_of(self._module) == self.device

    def __call__(self) -> nn.Module:
        """The network on its device, in evaluation mode; reads or moves it where needed."""
        if self._module is None:
            assert self._read is not None
            self._module = self._read()
        if not self.on_device:
            self._module.to(self.device)
        return self._module.eval().requires_grad_(False)

    def offload(self, policy: Offload) -> None:
        """Put it aside. Raises ValueError on FREE where the network was handed over and cannot be read again."""
        if policy is Offload.FREE:
            if self._read is None:
                raise ValueError("this encoder was made from a network in memory; offload it with Offload.CPU")
            self._module = None
        elif policy is Offload.CPU and self._module is not None:
            self._module.to("cpu")
        if policy is not Offload.KEEP and self.device.type == "cuda":
            torch.cuda.empty_cache()  # the allocator would hold the blocks for itself


def indexed(device: torch.device | str) -> torch.device:
    """The device with its index, so that "cuda" equals where its tensors say they are."""
    chosen = torch.device(device)
    if chosen == torch.device("cuda"):  # not equal to any device with an index
        return torch.device("cuda", torch.cuda.current_device())
    return chosen


def _device_of(module: nn.Module) -> torch.device:
    return next(module.parameters()).device
