"""A network as a graph that is written once: `Graph` is what the writer calls, ONNX and TensorRT are what it becomes.

The same calls make the ONNX twin that is checked numerically on a CPU and the network that TensorRT builds, so that
what was checked is what is built. Shapes are static. Two values of one operation have the same number of axes, and
each axis is equal or 1. Element types are torch's; nothing is cast unless the writer says so (strong typing).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

import torch
from torch import Tensor

Shape = tuple[int, ...]
V = TypeVar("V")
Binary = Literal["add", "sub", "mul", "div", "max", "min"]
Unary = Literal["sqrt", "tanh", "sigmoid", "relu", "gelu"]  # gelu: its tanh approximation

FLOAT8 = torch.float8_e4m3fn
LARGEST_FLOAT8 = 448.0
BUILT_FOR = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
"""The element types that a graph computes in, by the name that a user writes."""


class Graph(Protocol[V]):
    """Where a network is written to. Values have static shapes."""

    def input(self, name: str, shape: Shape, dtype: torch.dtype) -> V: ...
    def output(self, name: str, value: V) -> None: ...
    def constant(self, value: Tensor) -> V:
        """Weights, kept in their own type."""
        ...

    def shape(self, value: V) -> Shape: ...
    def dtype(self, value: V) -> torch.dtype: ...
    def cast(self, value: V, dtype: torch.dtype) -> V: ...
    def binary(self, kind: Binary, a: V, b: V) -> V: ...
    def unary(self, kind: Unary, value: V) -> V: ...
    def mean(self, value: V, axis: int) -> V:
        """The axis is kept, with length 1."""
        ...

    def matmul(self, a: V, b: V, transposed: bool = False) -> V:
        """a @ b, or a @ b with the last two axes of b exchanged."""
        ...

    def layer_norm(self, value: V, scale: V, bias: V, eps: float) -> V:
        """Over the last axis; scale and bias of the same number of axes."""
        ...

    def attention(
        self, q: V, k: V, v: V, lengths: V | None, fused: bool = True, weights_scale: float | None = None
    ) -> V:
        """softmax(q kT) v of `[B, H, N, d]` and `[B, H, M, d]`: the scale is the writer's. Of keys and values the
        first `lengths`, int32 `[B]`, count. `fused`: refuse to build where the edition has no kernel for it. With
        `weights_scale` the softmax goes through float8 by that scale, as q, k and v should have before."""
        ...

    def rotary(self, value: V, cos: V, sin: V) -> V:
        """Turn pairs of neighbouring channels of `[B, H, N, d]` by angles `[B, N, d / 2]`."""
        ...

    def cache_update(self, cache: V, update: V, index: V) -> V:
        """`cache` `[B, H, M, d]`, an input, with `update` `[B, H, N, d]` written from row `index`, int32 `[B]`, on. It
        has to become an output, which lies at the address of the input."""
        ...

    def reshape(self, value: V, shape: Shape) -> V: ...
    def transpose(self, value: V, order: Sequence[int]) -> V: ...
    def slice(self, value: V, axis: int, start: int, size: int) -> V: ...
    def concat(self, values: Sequence[V], axis: int) -> V: ...
    def zeros_before(self, value: V, axis: int, count: int) -> V:
        """`count` zeros in front, along one axis."""
        ...

    def conv(self, value: V, weight: V, bias: V | None, padding: Shape) -> V:
        """A 2D or 3D convolution of stride 1, padded alike at both ends of each axis."""
        ...

    def twice(self, value: V) -> V:
        """The last two axes, each cell repeated once."""
        ...

    def quantize(self, value: V, scale: V) -> V:
        """To float8: round(value / scale), saturated."""
        ...

    def dequantize(self, value: V, scale: V, axis: int | None = None) -> V:
        """From float8 to the type of the scale: one scale, or one for each place of an axis."""
        ...

    def fused(self, operator: Operator, *values: V) -> tuple[V, ...]:
        """What one kernel could do: by that kernel where this graph has it, else by the layers of its body."""
        ...


class Operator(Protocol):
    """Several layers that are one kernel of ours; see `graph_operators`. Hashable: equal ones have equal bodies."""

    @property
    def name(self) -> str: ...
    def body(self, graph: Graph[V], *values: V) -> tuple[V, ...]:
        """Write the layers."""
        ...


@dataclass(frozen=True, slots=True)
class Port:
    """One input or output of a graph."""

    name: str
    shape: Shape
    dtype: torch.dtype


def scalar(graph: Graph[V], number: float, like: V) -> V:
    """A number that fits any operation with `like`."""
    shape = (1,) * len(graph.shape(like))
    return graph.constant(torch.full(shape, number, dtype=graph.dtype(like)))


def rms(graph: Graph[V], value: V, axis: int, eps: float = 0.0, least: float = 0.0) -> V:
    """sqrt(mean(value²) + eps) over an axis, at least `least`; float32 whatever the value is."""
    exact = graph.cast(value, torch.float32)
    square = graph.mean(graph.binary("mul", exact, exact), axis)
    if eps:
        square = graph.binary("add", square, scalar(graph, eps, square))
    root = graph.unary("sqrt", square)
    return graph.binary("max", root, scalar(graph, least, root)) if least else root


def normalised(graph: Graph[V], value: V, weight: Tensor, axis: int, eps: float = 0.0, least: float = 0.0) -> V:
    """value / rms(value) * weight in float32, returned in the type of `value`. `weight` has the axes of `value`."""
    return normalised_by(graph, value, graph.constant(weight.float()), axis, eps, least)


def normalised_by(graph: Graph[V], value: V, weight: V, axis: int, eps: float = 0.0, least: float = 0.0) -> V:
    """The same with a weight of the graph, in float32."""
    exact = graph.cast(value, torch.float32)
    unit = graph.binary("div", exact, rms(graph, exact, axis, eps, least))
    return graph.cast(graph.binary("mul", unit, weight), graph.dtype(value))


def silu(graph: Graph[V], value: V) -> V:
    """x sigmoid(x), worked out in float32 as torch does it."""
    exact = graph.cast(value, torch.float32)
    return graph.cast(graph.binary("mul", exact, graph.unary("sigmoid", exact)), graph.dtype(value))


def gelu(graph: Graph[V], value: V) -> V:
    """The tanh approximation, worked out in float32 as torch does it: its cube is too coarse in bfloat16."""
    return graph.cast(graph.unary("gelu", graph.cast(value, torch.float32)), graph.dtype(value))


def linear(
    graph: Graph[V], x: V, weight: Tensor, bias: Tensor | None, scale: tuple[Tensor, float | None] | None = None
) -> V:
    """x `[B, N, in]` times weight `[out, in]`, plus bias. With a `scale`, the weight is float8 and the first of the
    pair its scale of each row, float32 `[out]`; the second is the scale that x is quantised with, None where x has been
    through float8 already."""
    dtype = graph.dtype(x)
    if scale is None:
        rows = graph.constant(weight.to(dtype)[None])
    else:
        rows_scale, x_scale = scale
        x = x if x_scale is None else through_float8(graph, x, x_scale)
        of_rows = graph.constant(rows_scale.to(dtype))
        rows = graph.dequantize(graph.constant(weight), of_rows, 0)
        rows = graph.reshape(rows, (1, *graph.shape(rows)))
    out = graph.matmul(x, rows, transposed=True)
    return out if bias is None else graph.binary("add", out, graph.constant(bias.to(dtype)[None, None]))


def through_float8(graph: Graph[V], x: V, scale: float) -> V:
    """Quantise and dequantise by one scale: what TensorRT takes for arithmetic in float8."""
    number = graph.constant(torch.tensor(scale, dtype=graph.dtype(x)))
    return graph.dequantize(graph.quantize(x, number), number)


def nbytes(ports: Mapping[str, Port]) -> int:
    """What the tensors of some ports take together."""
    return sum(math.prod(port.shape) * port.dtype.itemsize for port in ports.values())
