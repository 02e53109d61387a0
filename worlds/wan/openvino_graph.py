"""The OpenVINO side of `graph`: operations of its opset, written without tracing, compiled for the CPU, and run.

The library comes from `engines.openvino_here`, the one place that names it. All numbers are float32; where the CPU
multiplies bfloat16, OpenVINO may be told to do so.

A cache is an input that stays where it is: the graph writes the chunk's rows into a copy for its own attention, gives
those rows alone as output `next_keys_0@write_index`, and `OpenVINORun` puts them into the caller's cache, from the row
that the named input tells. So a pass carries the rows of one chunk across and never a whole window.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..engines import OpenVINO
from .graph import Binary, Operator, Port, Shape, Unary

BINARY: dict[Binary, str] = {
    "add": "add", "sub": "subtract", "mul": "multiply", "div": "divide", "max": "maximum", "min": "minimum",
}  # fmt: skip
NUMBERS: dict[torch.dtype, Any] = {torch.float32: np.float32, torch.int32: np.int32}
TYPES = {"f32": torch.float32, "i32": torch.int32}


@dataclass(frozen=True, slots=True)
class Value:
    """The result of an operation."""

    node: Any  # an output of a node
    shape: Shape
    dtype: torch.dtype
    constant: Tensor | None = None
    source: str = ""  # the input that this is, or is a part of
    written: tuple[Value, str] | None = None  # a cache that was written to: the rows, and the input that says where


@dataclass
class OpenVINOGraph:
    """A `Graph` of one model; `model()` when all is written."""

    library: OpenVINO
    inputs: dict[str, Port] = field(default_factory=dict)
    _parameters: list[Any] = field(default_factory=list)
    _results: list[Any] = field(default_factory=list)
    _shared: dict[tuple[int, int], tuple[Value, Any]] = field(default_factory=dict)  # by the value that it is made of

    def input(self, name: str, shape: Shape, dtype: torch.dtype) -> Value:
        self.inputs[name] = Port(name, shape, dtype)
        node = self._op.parameter(list(shape), NUMBERS[dtype], name=name)
        node.output(0).set_names({name})
        self._parameters.append(node)
        return Value(node.output(0), shape, dtype, source=name)

    def output(self, name: str, value: Value) -> None:
        """Of a cache that was written to, the rows that are new."""
        if value.written is not None:
            value, index = value.written
            name = f"{name}@{index}"
        node = self._op.result(value.node)
        node.output(0).set_names({name})
        self._results.append(node)

    def constant(self, value: Tensor) -> Value:
        kept = value.detach().cpu().contiguous()
        kept = kept if kept.dtype in NUMBERS else kept.float()
        return Value(self._kept(kept), tuple(kept.shape), kept.dtype, constant=kept)

    def shape(self, value: Value) -> Shape:
        return value.shape

    def dtype(self, value: Value) -> torch.dtype:
        return value.dtype

    def cast(self, value: Value, dtype: torch.dtype) -> Value:
        return value if value.dtype == dtype else self._made(self._op.convert(value.node, NUMBERS[dtype]), dtype)

    def binary(self, kind: Binary, a: Value, b: Value) -> Value:
        return self._made(getattr(self._op, BINARY[kind])(a.node, b.node), a.dtype)

    def unary(self, kind: Unary, value: Value) -> Value:
        made = self._op.gelu(value.node, "tanh") if kind == "gelu" else getattr(self._op, kind)(value.node)
        return self._made(made, value.dtype)

    def mean(self, value: Value, axis: int) -> Value:
        return self._made(self._op.reduce_mean(value.node, self._integers(axis), True), value.dtype)

    def matmul(self, a: Value, b: Value, transposed: bool = False) -> Value:
        rows = b.node
        if b.constant is not None and math.prod(b.shape[:-2]) == 1:  # a layer's weight, which is of two axes here
            rows = self._kept(b.constant.view(b.shape[-2:]))
        return self._made(self._op.matmul(a.node, rows, False, transposed), a.dtype)

    def layer_norm(self, value: Value, scale: Value, bias: Value, eps: float) -> Value:
        normed = self._op.mvn(value.node, self._integers(len(value.shape) - 1), True, eps, "inside_sqrt")
        return self._made(self._op.add(self._op.multiply(normed, scale.node), bias.node), value.dtype)

    def attention(
        self,
        q: Value,
        k: Value,
        v: Value,
        lengths: Value | None,
        fused: bool = True,
        weights_scale: float | None = None,
    ) -> Value:
        """Raises ValueError on float8."""
        if weights_scale is not None:
            raise ValueError("OpenVINO's graph has no attention in float8")
        mask = None if lengths is None else self._mask(lengths, k.shape[2])
        one = self._kept(torch.ones(()))
        return self._made(self._op.scaled_dot_product_attention(q.node, k.node, v.node, mask, one), q.dtype)

    def _mask(self, lengths: Value, rows: int) -> Any:
        """bool `[B, 1, 1, rows]`: the same for all layers."""
        key = id(lengths), rows
        if key not in self._shared:
            ends = self._op.reshape(lengths.node, self._integers(lengths.shape[0], 1, 1, 1), False)
            places = self._kept(torch.arange(rows, dtype=torch.int32).view(1, 1, 1, -1))
            self._shared[key] = lengths, self._op.less(places, ends)
        return self._shared[key][1]

    def rotary(self, value: Value, cos: Value, sin: Value) -> Value:
        # x cos + (x1, x0, x3, x2, …) (-sin, sin): one gather is quicker here than to take pairs apart and join them
        swapped = torch.arange(value.shape[3], dtype=torch.int32).view(-1, 2).flip(1).flatten()
        axis = self._kept(torch.tensor(3, dtype=torch.int32))
        turned = self._op.gather(value.node, self._kept(swapped), axis)
        both = [
            self._op.multiply(x, self._doubled(a, sign)) for x, a, sign in ((value.node, cos, 1), (turned, sin, -1))
        ]
        return self._made(self._op.add(*both), value.dtype)

    def _doubled(self, angles: Value, sign: int) -> Any:
        """`[B, N, d / 2]` to `[B, 1, N, d]`, each twice, first with a sign: the same for all layers."""
        key = id(angles), sign
        if key not in self._shared:
            batch, count, pairs = angles.shape
            one = self._op.reshape(angles.node, self._integers(batch, 1, count, pairs, 1), False)
            signed = self._op.multiply(one, self._kept(torch.tensor([float(sign), 1.0])))
            doubled = self._op.reshape(signed, self._integers(batch, 1, count, 2 * pairs), False)
            self._shared[key] = angles, doubled
        return self._shared[key][1]

    def cache_update(self, cache: Value, update: Value, index: Value) -> Value:
        """Every place of `index` must say the same row, as `action_graph.told_actions` does."""
        first = self.slice(index, 0, 0, 1)
        rows = self._op.add(first.node, self._kept(torch.arange(update.shape[2], dtype=torch.int32)))
        axis = self._kept(torch.tensor(2, dtype=torch.int32))
        made = self._op.scatter_update(cache.node, rows, update.node, axis)
        return Value(made.output(0), cache.shape, cache.dtype, written=(update, index.source))

    def reshape(self, value: Value, shape: Shape) -> Value:
        made = self._made(self._op.reshape(value.node, self._integers(*shape), False), value.dtype)
        return Value(made.node, made.shape, made.dtype, source=value.source)

    def transpose(self, value: Value, order: Sequence[int]) -> Value:
        return self._made(self._op.transpose(value.node, self._integers(*order)), value.dtype)

    def slice(self, value: Value, axis: int, start: int, size: int) -> Value:
        if (start, size) == (0, value.shape[axis]):
            return value
        ends = [self._integers(n) for n in (start, start + size, 1, axis)]
        made = self._made(self._op.slice(value.node, *ends), value.dtype)
        return Value(made.node, made.shape, made.dtype, source=value.source)

    def concat(self, values: Sequence[Value], axis: int) -> Value:
        return self._made(self._op.concat([v.node for v in values], axis), values[0].dtype)

    def zeros_before(self, value: Value, axis: int, count: int) -> Value:
        before = [count if a == axis else 0 for a in range(len(value.shape))]
        after, none = self._integers(*(0 for _ in before)), self._kept(torch.zeros(()))
        return self._made(self._op.pad(value.node, self._integers(*before), after, "constant", none), value.dtype)

    def conv(self, value: Value, weight: Value, bias: Value | None, padding: Shape) -> Value:
        ones, around = [1] * len(padding), list(padding)
        made = self._op.convolution(value.node, weight.node, ones, around, around, ones)
        if bias is not None:
            along = self._integers(1, bias.shape[0], *ones)
            made = self._op.add(made, self._op.reshape(bias.node, along, False))
        return self._made(made, value.dtype)

    def twice(self, value: Value) -> Value:
        axes = len(value.shape) - 2, len(value.shape) - 1
        made = self._op.interpolate(
            value.node, self._kept(torch.tensor([2.0, 2.0])), "nearest", "scales",
            coordinate_transformation_mode="asymmetric", nearest_mode="floor", axes=self._integers(*axes),
        )  # fmt: skip
        return self._made(made, value.dtype)

    def quantize(self, value: Value, scale: Value) -> Value:
        """Raises ValueError."""
        raise ValueError("OpenVINO's graph does not multiply in float8")

    def dequantize(self, value: Value, scale: Value, axis: int | None = None) -> Value:
        """Raises ValueError."""
        raise ValueError("OpenVINO's graph does not multiply in float8")

    def fused(self, operator: Operator, *values: Value) -> tuple[Value, ...]:
        return operator.body(self, *values)

    def compiled(self, threads: int) -> Any:
        """The whole, compiled for this CPU. Raises RuntimeError where OpenVINO refuses it."""
        model = self.library.api.Model(self._results, self._parameters, "worldstream")
        return self.library.core.compile_model(model, "CPU", self.library.settings(threads))

    @property
    def _op(self) -> Any:
        return self.library.operations

    def _kept(self, value: Tensor) -> Any:
        return self._op.constant(value.numpy())

    def _integers(self, *numbers: int) -> Any:
        return self._op.constant(np.array(numbers, np.int64))

    def _made(self, node: Any, dtype: torch.dtype) -> Value:
        out = node.output(0)
        return Value(out, tuple(out.get_shape()), dtype)


def exported(compiled: Any) -> bytes:
    """A compiled model, to be kept."""
    stream = io.BytesIO()
    compiled.export_model(stream)
    return stream.getvalue()


def imported(library: OpenVINO, data: bytes, threads: int) -> Any:
    """A compiled model that was kept. Raises RuntimeError where OpenVINO refuses it."""
    return library.core.import_model(io.BytesIO(data), "CPU", library.settings(threads))


class OpenVINORun:
    """A `Runner`: one request of a compiled model, which any number of them share. Owned by one thread.

    Inputs are read where they lie: nothing is copied in. A cache gets the rows of the chunk; other outputs are new.
    """

    def __init__(self, library: OpenVINO, compiled: Any) -> None:
        self.name = f"openvino {library.precision}"
        self._library, self._request = library, compiled.create_infer_request()
        self.inputs = {p.any_name: _port(p.any_name, p) for p in compiled.inputs}
        self.outputs: dict[str, Port] = {}
        self._places: list[
            tuple[str, str, str]
        ] = []  # of each output: its name, the cache it goes into, from which row
        for out in compiled.outputs:
            name, _, index = str(out.any_name).partition("@")
            cache = name.removeprefix("next_") if index else ""
            self._places.append((name, cache, index))
            self.outputs[name] = _port(name, out) if not cache else Port(name, *_of(self.inputs[cache]))
        self._bound: dict[str, int] = {}

    def run(self, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """All outputs for all inputs, which lie in main memory. Raises RuntimeError where OpenVINO stops."""
        for name, port in self.inputs.items():
            self._bind(port, given[name])
        self._request.infer()
        found: dict[str, Tensor] = {}
        for i, (name, cache, index) in enumerate(self._places):
            data = self._request.get_output_tensor(i).data
            if not cache:
                found[name] = torch.from_numpy(data.copy())
                continue
            rows = given[index].unique()
            assert len(rows) == 1, f"{index} says {rows.tolist()}, which is not one row"
            given[cache][:, :, int(rows) : int(rows) + data.shape[2]] = torch.from_numpy(data)
            found[name] = given[cache]
        return found

    def _bind(self, port: Port, tensor: Tensor) -> None:
        if self._bound.get(port.name) == tensor.data_ptr():
            return
        fits = tuple(tensor.shape) == port.shape and tensor.dtype == port.dtype and tensor.is_contiguous()
        assert fits, f"{port.name} must be contiguous {port.dtype}{port.shape}, got {tensor.dtype}{tuple(tensor.shape)}"
        self._request.set_tensor(port.name, self._library.api.Tensor(tensor.numpy(), shared_memory=True))
        self._bound[port.name] = tensor.data_ptr()


def _port(name: str, port: Any) -> Port:
    return Port(name, tuple(port.get_shape()), TYPES[port.get_element_type().get_type_name()])


def _of(port: Port) -> tuple[Shape, torch.dtype]:
    return port.shape, port.dtype
