"""From the host to the device without waiting for what runs there."""

from __future__ import annotations

import torch
from torch import Tensor


def upload(host: Tensor, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    """A CPU tensor on the device, as `dtype` where one is given.

    A copy from ordinary memory waits for the whole stream before it; one from pinned memory is put in line. torch keeps
    the pinned buffer until the copy has run.
    """
    there = host if dtype is None else host.to(dtype)
    if device.type == "cuda":
        there = there.pin_memory()
    return there.to(device, non_blocking=True)
