"""How long calls take on a device."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch


def device_timer(device: torch.device, repeats: int = 7, calls: int = 10) -> Callable[[Callable[[], object]], float]:
    """A function that gives the milliseconds of one call: the median of `repeats`, after a warm-up.

    On a GPU by events around `calls` of them, enqueued together: what the host needs before the first one starts then
    counts little, as it will where the work is recorded. On a CPU one by one.
    """
    cuda = device.type == "cuda"
    together = calls if cuda else 1

    def once(call: Callable[[], object]) -> float:
        if not cuda:
            at = time.perf_counter()
            call()
            return 1e3 * (time.perf_counter() - at)
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        for _ in range(together):
            call()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) / together

    def timed(call: Callable[[], object]) -> float:
        once(call)
        return statistics.median(once(call) for _ in range(repeats))

    return timed
