"""Which attention is the fastest for a shape on this device: asked once, by measuring, when a step is built.

Candidates are what torch has (cuDNN, FlashAttention, its memory-efficient kernel) and, where their packages are
installed, FlashAttention 3 and 4 in torch's place; and in eight bits, for those who allow it, FlashAttention 3 and
cuDNN through its own frontend. What reads eight bits is given them: where it is chosen, queries and the past are kept
so. Each is first compared with plain arithmetic on random numbers; what refuses the shape, or is wrong, is named in one
line and left out. Nothing is written here that multiplies: these are libraries.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import torch
import torch.nn.attention as torch_attention
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from ...kernels.reference import quantised
from .attention import attend
from .cudnn_attention import CudnnAttention
from .device_timer import device_timer
from .eight_attention import AttentionScales, EightAttention, EightRows, LayerScales

Attention = Callable[[Tensor, Tensor, Tensor], Tensor]  # as `attend`
Timer = Callable[[Callable[[], object]], float]  # -> milliseconds
Say = Callable[[str], None]

BACKENDS = {
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "math": SDPBackend.MATH,
}
ON_CUDA, ON_CPU = ("cudnn", "flash", "efficient"), ("flash", "math")
IMPLEMENTATIONS = {"FA3": "flash_attn_interface", "FA4": "flash_attn.cute"}  # torch's names, and their packages
CUDNN_FRONTEND = "cudnn"
CUDNN_PLANS = "cuDNN fp8", "cuDNN fp8, second plan"  # on sm_90 tiles of 256 and of 128 keys
LOW, LOW_EIGHT = 1e-2, 0.15  # error that is allowed, of bf16 and of eight bits
CHECKED = 64  # queries whose result is worked out plainly


@dataclass(frozen=True, slots=True)
class AttentionShape:
    """One attention of a pass: tokens that ask, tokens that are seen."""

    queries: int
    keys: int
    heads: int
    width: int  # channels of a head
    dtype: torch.dtype

    def __str__(self) -> str:
        return f"{self.queries} × {self.keys}, {self.heads} heads of {self.width}"


@dataclass(frozen=True, slots=True)
class Choice:
    """The fastest, and what the others took."""

    name: str
    attends: Attention
    ms: dict[str, float] = field(default_factory=dict)  # by name
    enter: Callable[[], None] = lambda: None  # what makes it possible, for the whole process: called before it is used
    eight: EightAttention | None = None  # asked in place of `attends` where the past is kept in eight bits

    def __str__(self) -> str:
        others = ", ".join(f"{name} {ms:.3f}" for name, ms in sorted(self.ms.items(), key=lambda item: item[1]))
        return f"{self.name} ({others} ms)" if others else self.name


PLAIN = Choice("torch's own choice", attend)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way, and what makes it possible; `leave` undoes that where it was not the fastest."""

    name: str
    attends: Attention = attend
    enter: Callable[[], None] = lambda: None
    leave: Callable[[], None] = lambda: None
    allowed: float = LOW
    after: Attention | None = None  # what draws once it is chosen, where that may fall back for another shape
    eight: EightAttention | None = None  # reads float8 as it is kept: measured in place of `attends`


def preferring(name: str) -> Attention:
    """`attend` by one backend of torch, and by another only for a shape that it refuses."""
    order = [BACKENDS[name], *(backend for backend in BACKENDS.values() if backend is not BACKENDS[name])]

    def attended(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        with sdpa_kernel(order, set_priority=True):
            return attend(q, k, v)

    return attended


def only(name: str) -> Attention:
    """By that backend alone: RuntimeError where it refuses."""

    def attended(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        with sdpa_kernel([BACKENDS[name]]):
            return attend(q, k, v)

    return attended


def flash_eight(q: Tensor, k: Tensor, v: Tensor, scales: LayerScales) -> Tensor:
    """An `EightAttention` through torch's FlashAttention 3, which gives sixteen bits."""
    from torch.nn.attention.experimental._scaled_dot_product_attention_quantized import (
        _scaled_dot_product_attention_quantized,
    )

    batch, _, heads, _ = q.shape
    a, b, c = (scale.expand(batch, heads).contiguous() for scale in (scales.queries, scales.keys, scales.values))
    q, k, v = (t.transpose(1, 2).expand(batch, -1, -1, -1) for t in (q, k, v))
    out: Tensor = _scaled_dot_product_attention_quantized(q, k, v, q_descale=a, k_descale=b, v_descale=c)
    return out.transpose(1, 2).flatten(2)


def candidates(
    device: torch.device, eight: bool, installed: Callable[[str], bool] | None = None
) -> Iterator[Candidate]:
    """What may be had on a device. `eight`: also what rounds to eight bits. Packages are looked for, never assumed."""
    if device.type != "cuda":
        for name in ON_CPU:
            yield Candidate(name, only(name), after=preferring(name))
        return
    has = installed or _installed
    for name in ON_CUDA:
        yield Candidate(name, only(name), after=preferring(name))
    for name, package in IMPLEMENTATIONS.items():
        if has(package):
            enter, leave = _activation(name)
            yield Candidate(name, only("flash"), enter, leave, after=preferring("flash"))
    yield from in_eight_bits(has) if eight else ()


def in_eight_bits(installed: Callable[[str], bool] | None = None) -> Iterator[Candidate]:
    """What reads a past of eight bits on a GPU."""
    has = installed or _installed
    if has(IMPLEMENTATIONS["FA3"]):
        enter, leave = _activation("FA3")
        yield Candidate("FA3 fp8", enter=enter, leave=leave, allowed=LOW_EIGHT, eight=flash_eight)
    if has(CUDNN_FRONTEND):
        for plan, name in enumerate(CUDNN_PLANS):
            yield Candidate(name, allowed=LOW_EIGHT, eight=CudnnAttention(plan))


def _installed(package: str) -> bool:
    with suppress(ImportError, ValueError):
        return importlib.util.find_spec(package) is not None
    return False


def _activation(name: str) -> tuple[Callable[[], None], Callable[[], None]]:
    def enter() -> None:
        torch_attention.activate_flash_attention_impl(name)

    return enter, torch_attention.restore_flash_attention_impl


def choose(
    shape: AttentionShape, device: torch.device, ways: Iterator[Candidate], say: Say, timer: Timer | None = None
) -> Choice:
    """The fastest candidate that is right; torch's own choice, after one line, where none is."""
    times: dict[str, float] = {}
    best: tuple[float, Candidate] | None = None
    try:
        q, k, v = _drawn(shape, device)
        wanted = _plainly(q[:, :CHECKED], k, v)
    except RuntimeError as why:  # no memory
        say(f"attention {shape}: not measured ({_line(why)}); {PLAIN.name}")
        return PLAIN
    for way in ways:
        entered = False
        try:
            way.enter()
            entered = True
            asked = _asked(way, q, k, v)
            error = float((_numbers(asked())[:, :CHECKED].double() - wanted).norm() / wanted.norm())
            if not error <= way.allowed:
                raise RuntimeError(f"off by {error:.2g}")
            times[way.name] = (timer or device_timer(device, calls=1))(asked)
            if best is None or times[way.name] < best[0]:
                best = times[way.name], way
        except (RuntimeError, ImportError, ValueError) as why:
            say(f"attention {shape}: not by {way.name} ({_line(why)})")
        if entered:
            way.leave()
    if best is None:
        say(f"attention {shape}: no candidate is right here; {PLAIN.name}")
        return PLAIN
    found = best[1]
    return Choice(found.name, found.after or found.attends, times, found.enter, found.eight)


def _asked(way: Candidate, q: Tensor, k: Tensor, v: Tensor) -> Callable[[], Tensor | EightRows]:
    """That way, given what it will read in a pass: eight bits are cast before, once."""
    if way.eight is None:
        return partial(way.attends, q, k, v)
    bound = torch.full((1,), (q.shape[2] * q.shape[3]) ** 0.5, device=q.device)  # as of normalised queries and keys
    scales = AttentionScales(bound, bound)
    scales.fit(0, v)
    layer = scales.layers[0]
    cast = quantised(q, layer.queries), quantised(k, layer.keys), quantised(v, layer.values)
    scales.fit_out(0, attend(q[:, :CHECKED], k, v))
    return partial(way.eight, *cast, layer)


def _numbers(out: Tensor | EightRows) -> Tensor:
    return out.exact(torch.float32) if isinstance(out, EightRows) else out


def _drawn(shape: AttentionShape, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    g = torch.Generator(device).manual_seed(0)

    def some(count: int) -> Tensor:
        return torch.randn(1, count, shape.heads, shape.width, generator=g, device=device).to(shape.dtype)

    return some(shape.queries), some(shape.keys), some(shape.keys)


def _line(why: BaseException) -> str:
    return (str(why).splitlines() or [type(why).__name__])[0][:120]


def _plainly(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """float64 `[B, N, H * d]`, head by head."""
    out = []
    for head in range(q.shape[2]):
        a, b, c = (t[:, :, head].double() for t in (q, k, v))
        out.append((a @ b.transpose(1, 2) * q.shape[3] ** -0.5).softmax(-1) @ c)
    return torch.cat(out, -1)
