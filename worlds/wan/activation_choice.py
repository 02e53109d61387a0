"""How a feed-forward's first product gets its bias and tanh-GELU on this device: asked once, by measuring, when a step
is built.

Apart: the product, then one kernel that reads and writes its result once more (`bias_gelu`). Or in the product's own
epilogue, which torch hands to cuBLASLt (`torch._addmm_activation`): at 4,680 tokens and 8,960 channels 168 MB less to
move. On CUDA the epilogue is the tanh form, as Wan's; on a CPU torch takes the form with erf there, which the
comparison with plain arithmetic refuses: the two differ by 3 % and more where the activation falls off.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from ...kernels.bias_gelu import bias_gelu
from .attention_choice import Say, Timer
from .device_timer import device_timer

Activated = Callable[[Tensor, Tensor, Tensor], Tensor]
"""gelu_tanh(x @ weight.T + bias) `[B, N, out]` of tokens `[B, N, in]`, weight `[out, in]` and bias `[out]`."""
TAIL = -3.5, -2.5  # where the two forms of GELU differ most, relative to what they give
LOW, LOW_TAIL = 1e-2, 3e-2  # error that is allowed, of all and of what lies in the tail
CHECKED = 64  # rows whose result is worked out plainly


def apart(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The product, then one kernel."""
    return bias_gelu(F.linear(x, weight), bias)


def in_epilogue(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Both at once, by the library that multiplies."""
    out: Tensor = torch._addmm_activation(bias, x.flatten(0, 1), weight.t(), use_gelu=True)
    return out.unflatten(0, x.shape[:2])


WAYS: Mapping[str, Activated] = {"apart": apart, "in the product's epilogue": in_epilogue}


@dataclass(frozen=True, slots=True)
class ProductShape:
    """One product of a pass: rows, and channels in and out."""

    rows: int
    channels: int
    out: int
    dtype: torch.dtype

    def __str__(self) -> str:
        return f"{self.rows} × {self.channels} to {self.out}"


@dataclass(frozen=True, slots=True)
class ActivationChoice:
    """The faster, and what each took."""

    name: str
    activates: Activated
    ms: dict[str, float] = field(default_factory=dict)  # by name

    def __str__(self) -> str:
        took = ", ".join(f"{name} {ms:.3f}" for name, ms in sorted(self.ms.items(), key=lambda item: item[1]))
        return f"{self.name} ({took} ms)" if took else self.name


APART = ActivationChoice("apart", apart)


def choose_activation(
    shape: ProductShape,
    device: torch.device,
    say: Say,
    timer: Timer | None = None,
    ways: Mapping[str, Activated] = WAYS,
) -> ActivationChoice:
    """The fastest that is right, what is not being named in one line; apart, where none was measured."""
    times: dict[str, float] = {}
    try:
        given = _drawn(shape, device)
        inner = _plainly(*given)
        for name, way in ways.items():
            try:
                _compare(way(*given)[0, :CHECKED].double(), inner)
                times[name] = (timer or device_timer(device))(partial(way, *given))
            except (RuntimeError, AttributeError) as why:
                say(f"activation {shape}: not {name} ({_line(why)})")
    except torch.OutOfMemoryError as why:
        say(f"activation {shape}: not measured ({_line(why)}); {APART}")
        return APART
    if not times:
        say(f"activation {shape}: nothing could be measured here; {APART}")
        return APART
    best = min(times, key=lambda name: times[name])
    return ActivationChoice(best, ways[best], times)


def _drawn(shape: ProductShape, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens, weight and bias whose products spread to both ends of the activation."""
    g = torch.Generator(device).manual_seed(0)

    def some(*sides: int, spread: float = 1.0) -> Tensor:
        return (torch.randn(sides, generator=g, device=device) * spread).to(shape.dtype)

    weight = some(shape.out, shape.channels, spread=1.5 * shape.channels**-0.5)
    return some(1, shape.rows, shape.channels), weight, some(shape.out, spread=0.5)


def _plainly(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """float64 `[CHECKED, out]` before the activation."""
    return F.linear(x[0, :CHECKED].double(), weight.double(), bias.double())


def _compare(got: Tensor, inner: Tensor) -> None:
    """Raises RuntimeError where it is not the tanh-GELU of `inner`."""
    wanted = F.gelu(inner, approximate="tanh")
    tail = (inner > TAIL[0]) & (inner < TAIL[1])
    for part, allowed in ((torch.ones_like(tail), LOW), (tail, LOW_TAIL)):
        error = float((got - wanted)[part].norm() / wanted[part].norm().clamp(min=1e-12))
        if not error <= allowed:
            raise RuntimeError(f"off by {error:.2g}")


def _line(why: BaseException) -> str:
    return (str(why).splitlines() or [type(why).__name__])[0][:120]
