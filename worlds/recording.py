"""Record a piece of work on tensors once, then run it again at the same addresses.

On a CUDA device a recording is a CUDA graph: thousands of launches become one, and nothing waits for the host. On a CPU
it is a tape of the same operations. Both freeze whatever was a Python value, and read every tensor where it lay: what
would be wrong in a graph is wrong on the tape, so the bookkeeping around a graph is tested where there is no GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

SYNCS = ("_local_scalar_dense", "item", "nonzero", "is_nonzero", "masked_select", "unique")
"""Operations whose result the host has to wait for."""


@dataclass(frozen=True, slots=True)
class Recording:
    """Work that was recorded. `operations` are those of the tape; a CUDA graph does not tell."""

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
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            work()
        return Recording(graph.replay)
    tape = Tape()
    with tape:
        work()
    undo()
    return Recording(tape.replay, tape.operations)


@dataclass(frozen=True, slots=True)
class _Made:
    """Stands for the tensor that is made `index`-th when the tape runs."""

    index: int


@dataclass(frozen=True, slots=True)
class _Call:
    operation: Any
    given: Any  # positional and named arguments, with `_Made` for what was made on the tape


class Tape(TorchDispatchMode):
    """The operations that run inside, down to those that do not consist of others."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._calls: list[_Call] = []
        self._index: dict[int, int] = {}
        self._alive: list[Tensor] = []  # a tensor's id is its own only as long as it lives

    @property
    def operations(self) -> tuple[str, ...]:
        """Names, in order: `mm.default`."""
        return tuple(str(call.operation).removeprefix("aten.") for call in self._calls)

    def __torch_dispatch__(
        self, func: Any, types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        named = kwargs or {}
        with self:
            parts = func.decompose(*args, **named)
        if parts is not NotImplemented:
            return parts
        out = func(*args, **named)
        self._calls.append(_Call(func, tree_map_only(Tensor, self._placed, (args, named))))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor):
                self._index[id(tensor)] = len(self._alive)
                self._alive.append(tensor)
        return out

    def _placed(self, tensor: Tensor) -> Tensor | _Made:
        index = self._index.get(id(tensor))
        return tensor if index is None else _Made(index)

    def replay(self) -> None:
        """Everything once more, in order."""
        self._alive.clear()
        made: list[Tensor] = []

        def found(place: _Made) -> Tensor:
            return made[place.index]

        for call in self._calls:
            args, named = tree_map_only(_Made, found, call.given)
            out = call.operation(*args, **named)
            made += [tensor for tensor in tree_leaves(out) if isinstance(tensor, Tensor)]
