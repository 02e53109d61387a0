"""Record a piece of work on tensors once, then run it again at the same addresses.

On a CUDA device a recording is a CUDA graph: thousands of launches become one, and nothing waits for the host. On a CPU
it is a trace of the same operations. Both freeze whatever was a Python value, and read every tensor where it lay: what
would be wrong in a graph is wrong in the trace, so the bookkeeping around a graph is tested where there is no GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.fx.experimental.proxy_tensor import make_fx

SYNCS = ("_local_scalar_dense", "item", "nonzero", "is_nonzero", "masked_select", "unique")
"""Operations whose result the host has to wait for."""


@dataclass(frozen=True, slots=True)
class Recording:
    """Work that was recorded. `operations` are those of the trace; a CUDA graph does not tell."""

    replay: Callable[[], None]
    operations: tuple[str, ...] = ()

    @property
    def syncs(self) -> tuple[str, ...]:
        """The recorded operations that wait for the device."""
        return tuple(name for name in self.operations if name.split(".")[0] in SYNCS)


def record(work: Callable[[], None], device: torch.device, undo: Callable[[], None]) -> Recording:
    """Record `work`, which takes and returns nothing and changes tensors in place.

    Recording on a CPU runs it once; `undo` puts back what that changed. Raises RuntimeError where the work cannot be
    recorded, e.g. because it waits for the device.
    """
    if device.type == "cuda":
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            work()
        return Recording(graph.replay)
    traced: Any = make_fx(work)()
    undo()
    names = tuple(str(node.target).removeprefix("aten.") for node in traced.graph.nodes if node.op == "call_function")

    def replay() -> None:
        traced()

    return Recording(replay, names)
