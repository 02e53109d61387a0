"""A plan on a GPU: one engine, one execution context, tensors of torch bound by address. And what a plan holds.

"Built and parity-checked, not timed": no GPU that runs these engines was at hand; what is tested is the graph, through
ONNX Runtime, the build, and the bookkeeping here against a stand-in of TensorRT's classes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..tensorrt_edition import Edition, cannot_run
from .graph import Port
from .tensorrt_graph import TYPES


class CannotRun(RuntimeError):
    """A plan that does not run here; the message is one line."""


class TensorRTRun:
    """A `Runner`. Inputs keep their addresses from call to call or are bound anew; aliased outputs lie on them.

    Nothing waits for the device: the work is put in order with torch's current stream, and can be captured into a CUDA
    graph with it when every input keeps its address. Owned by one thread.
    """

    def __init__(self, edition: Edition, plan: bytes) -> None:
        """Inputs, outputs and which of them lie on each other are the engine's own. Raises CannotRun."""
        if why := cannot_run(edition):
            raise CannotRun(why)
        self.name = str(edition)
        self._runtime = edition.api.Runtime(edition.api.Logger(edition.api.Logger.ERROR))
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise CannotRun(f"{edition} does not accept the engine on this GPU")
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise CannotRun(f"{edition}: there is no memory for the engine's activations")
        self.inputs, self.outputs = _ports(edition, self._engine)
        self._aliased = {name: self._engine.get_aliased_input_tensor(name) for name in self.outputs}
        self._bound: dict[str, int] = {}
        self._beside: torch.cuda.Stream | None = None

    def run(self, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """All outputs for all inputs, which lie on the GPU. Raises RuntimeError where the engine stops."""
        found: dict[str, Tensor] = {}
        for name, port in self.inputs.items():
            tensor = given[name]
            fits = tuple(tensor.shape) == port.shape and tensor.dtype == port.dtype and tensor.is_contiguous()
            assert fits, f"{name} must be contiguous {port.dtype}{port.shape}, got {tensor.dtype}{tuple(tensor.shape)}"
            self._bind(name, tensor)
        device = next(iter(given.values())).device
        for name, port in self.outputs.items():
            on = self._aliased[name]  # None where it has memory of its own
            found[name] = given[on] if on else torch.empty(port.shape, dtype=port.dtype, device=device)
            self._bind(name, found[name])
        if not self._enqueued():
            raise RuntimeError(f"{self.name}: the engine stopped")
        return found

    def _enqueued(self) -> bool:
        """On the default stream TensorRT waits for the device on its own account, so there a stream beside it is used.

        Memory is safe: what torch's stream does next comes after the engine.
        """
        current = torch.cuda.current_stream()
        if current.cuda_stream != 0:
            return bool(self._context.execute_async_v3(current.cuda_stream))
        if self._beside is None:
            self._beside = torch.cuda.Stream()
        self._beside.wait_stream(current)
        done = bool(self._context.execute_async_v3(self._beside.cuda_stream))
        current.wait_stream(self._beside)
        return done

    def _bind(self, name: str, tensor: Tensor) -> None:
        if self._bound.get(name) == tensor.data_ptr():
            return
        if not self._context.set_tensor_address(name, tensor.data_ptr()):
            raise RuntimeError(f"{self.name}: {name} cannot lie at {tensor.data_ptr():#x}")
        self._bound[name] = tensor.data_ptr()


def _ports(edition: Edition, engine: Any) -> tuple[dict[str, Port], dict[str, Port]]:
    """Inputs and outputs of a loaded engine. Raises CannotRun where one of them does not lie on the device."""
    types = {getattr(edition.api.DataType, name): dtype for dtype, name in TYPES.items()}
    found: tuple[dict[str, Port], dict[str, Port]] = ({}, {})
    for i in range(engine.num_io_tensors):
        name = engine.get_tensor_name(i)
        if engine.get_tensor_location(name) != edition.api.TensorLocation.DEVICE:
            raise CannotRun(f"the engine reads {name} on the host, and we have it on the GPU")
        port = Port(name, tuple(engine.get_tensor_shape(name)), types[engine.get_tensor_dtype(name)])
        found[engine.get_tensor_mode(name) == edition.api.TensorIOMode.OUTPUT][name] = port
    return found


CALLS = ("fully_connected", "corrltn", "resize")  # products, convolutions, and what they are called in a plan


def instructions(plan: bytes) -> Counter[str]:
    """What a plan of the RTX edition executes, by kind: the program lies in it as text.

    This is what can be inspected without a GPU; TensorRT's own inspector needs a loaded engine. Generated kernels count
    as "generated", those with a name by it ("_gemm_mha_v2": fused attention), and `CALLS`. Elementwise ends of products
    and convolutions are joined to them on the GPU and are not counted.
    """
    found: Counter[str] = Counter()
    for match in re.finditer(rb"\n\s+([a-z_]+)=\{ name=\"?([A-Za-z0-9_]*)", plan):
        kind, name = match[1].decode(), match[2].decode()
        if kind == "function":
            found["generated" if name.startswith("__myl_") else name] += 1
        elif kind in CALLS:
            found[kind] += 1
    return found
