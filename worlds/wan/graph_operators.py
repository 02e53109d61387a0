"""What one of our kernels does in a pass, as one operator of a graph: its layers, which any graph can write.

`Graph.fused` takes an operator whole where there is a kernel for it (TensorRT with plugins), keeps it together as a
function where that is possible (ONNX), and else writes its body. What a body gives is what the kernel has to give.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .graph import Graph, V, gelu, normalised_by, scalar


@dataclass(frozen=True, slots=True)
class NormModulate:
    """x `[1, N, dim]` and parts float32 `[1, T, P, dim]`: layer_norm(x) * (1 + parts[first + 1]) + parts[first], each
    for N / T tokens; with a `scale` quantised by it."""

    first: int
    eps: float
    scale: float | None = None

    @property
    def name(self) -> str:
        return "norm_modulate"

    def body(self, graph: Graph[V], *values: V) -> tuple[V, ...]:
        x, parts = values
        return (quantised(graph, modulated(graph, x, parts, self.first, self.eps), self.scale),)


@dataclass(frozen=True, slots=True)
class ResidualNorm:
    """x and added, a product without its bias, `[1, N, dim]`: the new x = x + (added + bias) * gates[gate], and its
    norm, with a `scale` quantised by it.

    Values: x, added, the bias `[1, 1, dim]`, gates `[1, T, P, dim]` unless `gate` is None, then parts `[1, T, P, dim]`
    as in `NormModulate`, or weight and bias of the norm `[1, 1, dim]` where `first` is None.
    """

    gate: int | None
    first: int | None
    eps: float
    scale: float | None = None

    @property
    def name(self) -> str:
        return "residual_norm" + "_gated" * (self.gate is not None) + "_affine" * (self.first is None)

    def body(self, graph: Graph[V], *values: V) -> tuple[V, ...]:
        x, added, bias, *rest = values
        added = graph.binary("add", added, bias)
        if self.gate is None:
            x = graph.binary("add", x, added)
        else:
            x = gated(graph, x, added, rest.pop(0), self.gate)
        if self.first is None:
            exact = graph.layer_norm(graph.cast(x, torch.float32), rest[0], rest[1], self.eps)
            normed = graph.cast(exact, graph.dtype(x))
        else:
            normed = modulated(graph, x, rest[0], self.first, self.eps)
        return x, quantised(graph, normed, self.scale)


@dataclass(frozen=True, slots=True)
class QkNormRope:
    """qkv, a product without its bias, `[1, N, 3 * dim]`, the bias `[1, 1, 3 * dim]`, two weights float32 `[1, 1,
    dim]`, cos and sin float32 `[1, N, d / 2]`: queries and keys normalised over the whole width and rotated, queries
    times d ** -0.5, and values, each `[1, H, N, d]`."""

    heads: int
    eps: float

    @property
    def name(self) -> str:
        return "qk_norm_rope"

    def body(self, graph: Graph[V], *values: V) -> tuple[V, ...]:
        qkv, bias, q_weight, k_weight, cos, sin = values
        qkv = graph.binary("add", qkv, bias)
        dim, dtype = graph.shape(qkv)[2] // 3, graph.dtype(qkv)
        q, k, v = (graph.slice(qkv, 2, i * dim, dim) for i in range(3))

        def turned(x: V, weight: V) -> V:
            x = in_heads(graph, normalised_by(graph, x, weight, 2, self.eps), self.heads)
            return graph.cast(graph.rotary(graph.cast(x, torch.float32), cos, sin), dtype)

        q = turned(q, q_weight)
        return scaled(graph, q), turned(k, k_weight), in_heads(graph, v, self.heads)


@dataclass(frozen=True, slots=True)
class RmsNorm:
    """x, a product without its bias, `[1, N, dim]`, the bias and a weight float32 `[1, 1, dim]`: normalised over the
    whole width, times d ** -0.5, `[1, H, N, d]`."""

    heads: int
    eps: float

    @property
    def name(self) -> str:
        return "rms_norm"

    def body(self, graph: Graph[V], *values: V) -> tuple[V, ...]:
        x, bias, weight = values
        x = graph.binary("add", x, bias)
        return (scaled(graph, in_heads(graph, normalised_by(graph, x, weight, 2, self.eps), self.heads)),)


@dataclass(frozen=True, slots=True)
class Gelu:
    """tanh-GELU of x, a product without its bias, `[1, N, dim]`, and the bias; with a `scale` quantised by it."""

    scale: float | None = None

    @property
    def name(self) -> str:
        return "gelu"

    def body(self, graph: Graph[V], *values: V) -> tuple[V, ...]:
        return (quantised(graph, gelu(graph, graph.binary("add", *values)), self.scale),)


def modulated(graph: Graph[V], x: V, parts: V, first: int, eps: float) -> V:
    """As `NormModulate`, not quantised."""
    (_, tokens, dim), frames = graph.shape(x), graph.shape(parts)[1]
    shift, scale = (graph.slice(parts, 2, first + i, 1) for i in range(2))
    one, none = (graph.constant(make(1, 1, dim)) for make in (torch.ones, torch.zeros))
    normed = graph.layer_norm(graph.cast(x, torch.float32), one, none, eps)
    normed = graph.reshape(normed, (1, frames, tokens // frames, dim))
    more = graph.binary("mul", normed, graph.binary("add", scale, scalar(graph, 1.0, scale)))
    return graph.cast(graph.reshape(graph.binary("add", more, shift), (1, tokens, dim)), graph.dtype(x))


def gated(graph: Graph[V], x: V, added: V, gates: V, gate: int) -> V:
    """x + added * gates[gate], each for N / T tokens."""
    (_, tokens, dim), frames = graph.shape(x), graph.shape(gates)[1]
    in_frames = graph.reshape(graph.cast(added, torch.float32), (1, frames, tokens // frames, dim))
    part = graph.reshape(graph.binary("mul", in_frames, graph.slice(gates, 2, gate, 1)), (1, tokens, dim))
    return graph.cast(graph.binary("add", graph.cast(x, torch.float32), part), graph.dtype(x))


def in_heads(graph: Graph[V], x: V, heads: int) -> V:
    """`[1, N, dim]` to `[1, H, N, d]`."""
    _, count, dim = graph.shape(x)
    return graph.transpose(graph.reshape(x, (1, count, heads, dim // heads)), (0, 2, 1, 3))


def scaled(graph: Graph[V], q: V) -> V:
    """Queries `[1, H, N, d]` times the scale of their softmax."""
    return graph.binary("mul", q, scalar(graph, graph.shape(q)[3] ** -0.5, q))


def quantised(graph: Graph[V], x: V, scale: float | None) -> V:
    """To float8 by one scale; as it is with None."""
    return x if scale is None else graph.quantize(x, graph.constant(torch.tensor(scale, dtype=graph.dtype(x))))
