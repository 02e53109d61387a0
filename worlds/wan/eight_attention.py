"""Self-attention in eight bits: what its float8 numbers are to be multiplied by, and its meaning in plain torch.

Libraries take one scale for all queries of a layer, one for all keys and one for all values. They are fixed before a
number is written, so that the past is kept in eight bits and never cast again:

- Queries and keys are normalised over the whole width d and then turned, which lengthens no pair of channels: none is
  larger than sqrt(d) times the largest weight of their norm. That is a bound, so nothing is ever cut off.
- Values have no bound. While nothing is remembered, every pass over the first chunk sets their scale by its own
  largest value, with room for larger ones to come; with the first commit it stays for the walk. No host waits for it.
- What comes out is an average of values, and of many much smaller than they are. Its scale is set in the same passes,
  which are attended to in sixteen bits, by the largest that came out. An average over more tokens is rarely larger.

Four bits of exponent make this work: numbers a thousand times smaller than the largest still have three bits of
mantissa. Every scale is a power of two, so that multiplying by it rounds nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ...kernels.reference import LARGEST_E4M3, quantised
from .attention import attend

STORED = torch.float8_e4m3fn
ROOM = 16.0  # how much larger than those of the first chunk values may become
ROOM_OUT = 8.0  # the same of their averages
PROBABILITIES = 256.0  # what probabilities, at most 1, are multiplied by before they are cast
LAZY = 16.0  # a library may let the largest grow so far before it scales its sums anew: so much less they are cast with


@dataclass(frozen=True, slots=True)
class LayerScales:
    """Of one layer, each float32 `[1]`, at a border of 16 bytes: value = byte * scale."""

    queries: Tensor
    keys: Tensor
    values: Tensor
    out: Tensor
    out_factor: Tensor  # 1 / out


@dataclass(frozen=True, slots=True)
class EightRows:
    """What an attention gives in eight bits."""

    bytes: Tensor  # float8 [B, N, H * d]
    scale: Tensor  # float32 [1]

    def exact(self, dtype: torch.dtype) -> Tensor:
        """The numbers themselves."""
        return (self.bytes.float() * self.scale).to(dtype)

    def rows(self) -> tuple[Tensor, Tensor]:
        """As a product in eight bits reads them: with one scale a row, all the same."""
        return self.bytes, self.scale.expand(*self.bytes.shape[:-1], 1).contiguous()


EightAttention = Callable[[Tensor, Tensor, Tensor, LayerScales], Tensor | EightRows]
"""(queries `[B, N, H, d]`, keys and values `[B or 1, M, H, d]`, float8; their scales) -> `[B, N, H * d]`."""


class AttentionScales:
    """Of all layers. Those of queries and keys never change; those of values belong to a walk."""

    def __init__(self, queries: Tensor, keys: Tensor) -> None:
        """The largest that a query and a key can be, float32 `[L]`, on the device."""
        kinds = len(LayerScales.__dataclass_fields__)
        levels = torch.ones(queries.shape[0], kinds, 4, device=queries.device)  # 16 bytes each
        levels[:, 0, 0], levels[:, 1, 0] = powers_of_two(queries), powers_of_two(keys)
        self._levels = levels
        self._averaged: set[int] = set()  # layers whose result has been seen
        self.layers = tuple(LayerScales(*(part[:1] for part in layer.unbind(0))) for layer in levels.unbind(0))

    @property
    def nbytes(self) -> int:
        return self._levels.nbytes

    def fit(self, layer: int, values: Tensor) -> None:
        """For a walk whose first values are these: any shape."""
        scales = self.layers[layer]
        scales.values.copy_(powers_of_two(values.abs().amax().float() * ROOM))
        if layer not in self._averaged:  # no average is larger than what it is of
            self._set_out(layer, scales.values)

    def fit_out(self, layer: int, out: Tensor) -> None:
        """For a walk whose first result is this."""
        self._averaged.add(layer)
        self._set_out(layer, powers_of_two(out.abs().amax().float() * ROOM_OUT))

    def _set_out(self, layer: int, scale: Tensor) -> None:
        scales = self.layers[layer]
        scales.out.copy_(scale)
        scales.out_factor.copy_(1 / scales.out)

    def of_walk(self) -> Tensor:
        """A copy of what the walk has set, for snapshots."""
        return self._levels[:, 2:].clone()

    def put_back(self, levels: Tensor) -> None:
        """What `of_walk` gave."""
        self._levels[:, 2:] = levels
        self._averaged.update(range(len(self.layers)))


def powers_of_two(largest: Tensor) -> Tensor:
    """What float32 numbers of up to `largest` are divided by: the largest becomes 224 to 448, of at most 448."""
    _, exponent = torch.frexp(largest.clamp(1e-12, 1e30) / LARGEST_E4M3)
    return ((exponent.int() + 127) << 23).view(torch.float32)  # their bits: no device's power function is trusted


def exact(x: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
    """The numbers that float8 ones stand for; nothing is rounded."""
    return (x.float() * scale).to(dtype)


def attend_exactly(q: Tensor, k: Tensor, v: Tensor, scales: LayerScales, dtype: torch.dtype) -> Tensor:
    """`attend` to what the bytes stand for, in sixteen bits: for shapes that no library was asked about."""
    return attend(exact(q, scales.queries, dtype), exact(k, scales.keys, dtype), exact(v, scales.values, dtype))


def attend_eight(q: Tensor, k: Tensor, v: Tensor, scales: LayerScales) -> EightRows:
    """The twin of a library's: queries, keys, values, probabilities and result are rounded to eight bits, sums are
    float32. Probabilities are taken relative to the largest of their row and divided by their sum at the end. Memory
    for all products of queries and keys: `[B, H, N, M]`."""
    factor = scales.queries * scales.keys * q.shape[-1] ** -0.5
    a, b, c = (x.float().transpose(1, 2) for x in (q, k, v))
    scores = a @ b.transpose(2, 3) * factor
    weights = (scores - scores.amax(-1, keepdim=True)).exp()
    cast = quantised(weights, weights.new_full((1,), LAZY / PROBABILITIES)).float()
    sums = cast @ c * (LAZY / PROBABILITIES * scales.values) / weights.sum(-1, keepdim=True)
    return EightRows(quantised(sums.transpose(1, 2).flatten(2), scales.out), scales.out)
