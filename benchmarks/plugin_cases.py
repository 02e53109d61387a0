"""Operators that may become plugins, on random inputs, and what they have to give in float64; and the execution of a
plugin on the CPU as TensorRT would launch it: inputs' addresses, integers, outputs' addresses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from ctypes import c_int
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from worldstream.kernels import host
from worldstream.kernels.host_check import check
from worldstream.kernels.launch import Argument, Kernel, Launch, pointer
from worldstream.worlds.wan.graph import FLOAT8, Operator, Port
from worldstream.worlds.wan.graph_operators import Gelu, NormModulate, QkNormRope, ResidualNorm, RmsNorm

EPS = 1e-6
SCALE = 2.0**-6  # of float8: a few of the values are beyond 448 times it


@dataclass(frozen=True, slots=True)
class PluginCase:
    """One operator on one set of inputs. `exact` gives all outputs in float64, of the first output as it was stored."""

    label: str
    operator: Operator
    inputs: tuple[Tensor, ...]
    exact: Callable[[Tensor], list[Tensor]]
    scales: tuple[float | None, ...]  # of the outputs that are float8

    @property
    def ports(self) -> list[Port]:
        return [Port(f"input {i}", tuple(t.shape), t.dtype) for i, t in enumerate(self.inputs)]


@dataclass(frozen=True, slots=True)
class Asked:
    """What TensorRT would launch for inputs of certain shapes, worked out from what a plugin told it."""

    entry: str
    cubin: bytes
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    shared: int  # bytes of dynamic shared memory
    numbers: tuple[int, ...]
    outputs: tuple[tuple[tuple[int, ...], torch.dtype], ...]


def executed(
    asked: Asked, kernel: Kernel, inputs: Sequence[Tensor], folder: Path, watched: bool = False
) -> list[Tensor]:
    """The outputs, written by the kernel's own source on this CPU over poison. `watched`: in several orders, with every
    access to memory looked at; raises host.KernelFault."""
    assert asked.entry == kernel.entry
    assert asked.grid[2] == asked.block[1] == asked.block[2] == 1
    assert asked.shared == 0
    poison = [torch.empty(shape, dtype=torch.float32).fill_(float("nan")) for shape, _ in asked.outputs]
    outputs = [empty.to(dtype) for empty, (_, dtype) in zip(poison, asked.outputs, strict=True)]
    numbers = (c_int(n) for n in asked.numbers)
    given: tuple[Argument, ...] = (*(pointer(t) for t in inputs), *numbers, *(pointer(t) for t in outputs))
    launch = Launch(kernel, asked.grid[:2], asked.block[0], given)
    if watched:
        check([launch], folder)
    else:
        host.run(launch, folder)
    return outputs


def error(case: PluginCase, outputs: Sequence[Tensor]) -> float:
    """The largest error, as a part of what one rounding to the output's type allows: at most 1 where all is right."""
    worst = []
    for out, exact, scale in zip(outputs, case.exact(outputs[0]), case.scales, strict=True):
        assert out.shape == exact.shape, f"{case.label}: {tuple(out.shape)} is not {tuple(exact.shape)}"
        assert (out.dtype == FLOAT8) == (scale is not None)
        if scale is None:  # half a unit in the last place, and float32 sums before
            off, allowed = (out.double() - exact).abs(), exact.abs() * (2.0**-8 * 1.001) + 2e-6
        else:
            kept = exact.clamp(-448 * scale, 448 * scale)
            off = (out.double() * scale - kept).abs()
            allowed = kept.abs() * (2.0**-4 * 1.001) + scale * (2.0**-10 * 1.001)
        worst.append(float((off / allowed).nan_to_num(float("inf")).max()))
    return max(worst)


def plugin_cases(dim: int, head: int, frames: int, tokens: int, eight: bool, seed: int = 0) -> Iterator[PluginCase]:
    """All operators, `frames` latent frames of `tokens` tokens; with `eight` bits where they may go into a product."""
    g = torch.Generator().manual_seed(seed)
    count, scale = frames * tokens, SCALE if eight else None

    def normal(*shape: int, mean: float = 0.0, spread: float = 1.0) -> Tensor:
        return torch.randn(shape, generator=g) * spread + mean

    def half(*shape: int, mean: float = 0.0, spread: float = 1.0) -> Tensor:
        return normal(*shape, mean=mean, spread=spread).bfloat16()

    suffix = " fp8" if eight else ""
    x, added, product_bias = half(1, count, dim, mean=3.0), half(1, count, dim), half(1, 1, dim)
    whole = added.double() + product_bias.double()
    parts, others = (normal(1, frames, n, dim, spread=0.3) for n in (6, 2))
    weight, bias = normal(1, 1, dim, mean=1.0, spread=0.2), normal(1, 1, dim)

    def modulated(first: int) -> Callable[[Tensor], list[Tensor]]:
        return lambda _: [_modulated(x, parts, first)]

    for first in (0, 3):
        yield PluginCase(
            f"norm_modulate from {first}{suffix}", NormModulate(first, EPS, scale), (x, parts),
            modulated(first), (scale,),
        )  # fmt: skip
    yield PluginCase(
        "residual_norm" + suffix, ResidualNorm(None, 3, EPS, scale), (x, added, product_bias, parts),
        lambda kept: [x.double() + whole, _modulated(kept, parts, 3)], (None, scale),
    )  # fmt: skip
    yield PluginCase(
        "residual_norm gated" + suffix, ResidualNorm(5, 0, EPS, scale), (x, added, product_bias, parts, others),
        lambda kept: [_gated(x, whole, parts, 5), _modulated(kept, others, 0)], (None, scale),
    )  # fmt: skip
    yield PluginCase(
        "residual_norm gated, affine" + suffix, ResidualNorm(2, None, EPS, scale),
        (x, added, product_bias, parts, weight, bias),
        lambda kept: [_gated(x, whole, parts, 2), _unit_norm(kept) * weight.double() + bias.double()],
        (None, scale),
    )  # fmt: skip
    wide = half(1, count, dim, spread=3.0)
    y = wide.double() + product_bias.double()
    exact = 0.5 * y * (1 + (0.7978845608028654 * (y + 0.044715 * y**3)).tanh())
    yield PluginCase("gelu" + suffix, Gelu(scale), (wide, product_bias), lambda _: [exact], (scale,))
    if not eight:
        qkv, qkv_bias, angle = half(1, count, 3 * dim), half(1, 1, 3 * dim), normal(1, count, head // 2, spread=3.0)
        weights = [normal(1, 1, dim, mean=1.0, spread=0.2) for _ in range(2)]
        yield PluginCase(
            "qk_norm_rope", QkNormRope(dim // head, EPS), (qkv, qkv_bias, *weights, angle.cos(), angle.sin()),
            lambda _: _qkv(qkv.double() + qkv_bias.double(), weights, angle, head), (None,) * 3,
        )  # fmt: skip
        yield PluginCase(
            "rms_norm", RmsNorm(dim // head, EPS), (added, product_bias, weight),
            lambda _: [_heads(_unit(whole) * weight.double(), head) * head**-0.5], (None,),
        )  # fmt: skip


def _unit(x: Tensor) -> Tensor:
    return x.double() / (x.double().square().mean(-1, keepdim=True) + EPS).sqrt()


def _unit_norm(x: Tensor) -> Tensor:
    centred = x.double() - x.double().mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + EPS).sqrt()


def _each(parts: Tensor, place: int, count: int) -> Tensor:
    """One condition of every frame beside its tokens."""
    return parts[:, :, place].double().repeat_interleave(count // parts.shape[1], 1)


def _modulated(x: Tensor, parts: Tensor, first: int) -> Tensor:
    shift, scale = (_each(parts, first + i, x.shape[1]) for i in range(2))
    return _unit_norm(x) * (1 + scale) + shift


def _gated(x: Tensor, added: Tensor, gates: Tensor, gate: int) -> Tensor:
    return x.double() + added.double() * _each(gates, gate, x.shape[1])


def _heads(x: Tensor, head: int) -> Tensor:
    return x.unflatten(-1, (-1, head)).transpose(1, 2)


def _qkv(qkv: Tensor, weights: Sequence[Tensor], angle: Tensor, head: int) -> list[Tensor]:
    q, k, v = qkv.double().chunk(3, -1)
    turn = torch.polar(torch.ones_like(angle, dtype=torch.float64), angle.double())[:, None]
    turned = []
    for x, weight in zip((q, k), weights, strict=True):
        pairs = _heads(_unit(x) * weight.double(), head).unflatten(-1, (-1, 2)).contiguous()
        turned.append(torch.view_as_real(torch.view_as_complex(pairs) * turn).flatten(-2))
    return [turned[0] * head**-0.5, turned[1], _heads(v, head)]
