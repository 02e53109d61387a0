"""Every operator on fresh random inputs: its launches, its torch twin, and the bytes that it cannot do without.

`SIZES` are the shapes that worlds run; the tests use small ones of the same make. Outputs are filled with poison
first, so a value that is not written is a difference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from worldstream.kernels import (
    action_attention,
    bias_gelu,
    i420,
    norm_modulate,
    qk_norm_rope,
    quantise_rows,
    reference,
    residual_norm,
    rms_norm,
    scheduler_step,
)
from worldstream.kernels.launch import Launch

EPS = 1e-6
FP8 = torch.float8_e4m3fn


@dataclass(frozen=True, slots=True)
class Size:
    """One pass of a world: `frames` latent frames of `tokens` tokens each."""

    name: str
    dim: int
    ffn: int
    head: int
    frames: int
    tokens: int
    window: int  # latent frames in the ring
    picture: tuple[int, int]  # rows and columns in px
    latent: tuple[int, int]


SIZES = {
    "832x480": Size("1.3B 832x480", 1536, 8960, 128, 3, 1560, 21, (480, 832), (60, 104)),
    "matrix-game": Size("1.3B 640x352", 1536, 8960, 128, 3, 880, 6, (352, 640), (44, 80)),
    "14b": Size("14B 832x480", 5120, 13824, 128, 3, 1560, 9, (480, 832), (60, 104)),
}
REHEARSAL = Size("small", 256, 1024, 128, 3, 8, 5, (16, 32), (4, 6))  # for execution on a CPU
ACTION_HEADS, ACTION_HEAD, ACTION_WINDOW = 16, 64, 6


@dataclass(frozen=True, slots=True)
class Case:
    """One operator on one set of inputs. `twin` works on copies of what is written in place; it is asked after the
    launches, where a later output is of an earlier one."""

    operator: str  # the name of its source
    label: str
    launches: Callable[[], tuple[Launch, ...]]
    twin: Callable[[], dict[str, Tensor]]
    outputs: dict[str, Tensor]
    bytes: int  # read once and written once


class Inputs:
    """Random tensors of one device and seed, and how many bytes they are."""

    def __init__(self, seed: int, device: torch.device | str) -> None:
        self._generator = None if str(device) == "meta" else torch.Generator(device).manual_seed(seed)
        self._device = device
        self.bytes = 0

    def normal(
        self, *shape: int, dtype: torch.dtype = torch.bfloat16, spread: float = 1.0, mean: float = 0.0
    ) -> Tensor:
        """Unit normal times `spread`."""
        drawn = torch.randn(shape, generator=self._generator, device=self._device)
        return self.counted((drawn * spread + mean).to(dtype))

    def counted(self, tensor: Tensor) -> Tensor:
        """`tensor`, which is read or written once."""
        self.bytes += tensor.nbytes
        return tensor

    def given(self, values: list[int], dtype: torch.dtype) -> Tensor:
        return torch.tensor(values, dtype=dtype, device=self._device)

    def scales(self, queries: float, keys: float, values: float) -> tuple[Tensor, Tensor, Tensor]:
        """Of float8 tensors, each a float32 `[1]`."""
        q, k, v = (torch.tensor([scale], device=self._device) for scale in (queries, keys, values))
        return q, k, v

    def poisoned(self, *shape: int, dtype: torch.dtype = torch.bfloat16) -> Tensor:
        """To be written: NaN, or 0xAB where there is none."""
        empty = torch.empty(shape, dtype=dtype, device=self._device)
        filled = empty.fill_(float("nan")) if empty.is_floating_point() else empty.fill_(0xAB)
        return self.counted(filled)


def _named(*values: Tensor | None) -> dict[str, Tensor]:
    """One or two results of a norm."""
    return {name: value for name, value in zip(("out", "scales"), values, strict=False) if value is not None}


def _norm_outputs(inputs: Inputs, shape: tuple[int, ...], fp8: bool) -> dict[str, Tensor]:
    if not fp8:
        return _named(inputs.poisoned(*shape))
    scales = inputs.poisoned(*shape[:-1], 1, dtype=torch.float32)
    return _named(inputs.poisoned(*shape, dtype=FP8), scales)


def _rounded(value: Tensor, fp8: bool) -> dict[str, Tensor]:
    return _named(*reference.quantised_rows(value)) if fp8 else _named(value.to(torch.bfloat16))


def qk_norm_rope_case(size: Size, inputs: Inputs, batch: int = 1, unrotated: bool = False, fp8: bool = False) -> Case:
    """Views of one product as inputs, each latent frame to a slot of its own, the last frame's before the first's. With
    `fp8` queries and rings are float8, at scales that cut a few of the values off."""
    tokens, heads = size.frames * size.tokens, size.dim // size.head
    q, k, v = inputs.normal(batch, tokens, 3 * size.dim).chunk(3, -1)
    q_weight, k_weight = (inputs.normal(size.dim, dtype=torch.float32, spread=0.2, mean=1.0) for _ in range(2))
    angle = inputs.normal(tokens, size.head // 2, dtype=torch.float32, spread=3.0)
    cos, sin = angle.cos(), inputs.counted(angle.sin())
    slots = inputs.given([size.tokens * (size.window - 1 - frame) for frame in range(size.frames)], torch.int64)
    stored, shape = FP8 if fp8 else torch.bfloat16, (batch, tokens, heads, size.head)
    poison = [inputs.poisoned(*shape, dtype=torch.bfloat16 if i == 3 else stored) for i in range(3 + unrotated)]
    ring = poison[0].new_empty(2, batch, size.window * size.tokens, heads, size.head).fill_(float("nan"))
    scales = inputs.scales(2.0**-6, 0.013, 0.0071) if fp8 else None
    outputs = {"q": poison[0], "k_ring": ring[0], "v_ring": ring[1]} | ({"unrotated": poison[3]} if unrotated else {})
    given = (q, k, v, q_weight, k_weight, cos, sin, slots)

    def launches() -> tuple[Launch, ...]:
        kept = outputs.get("unrotated")
        return (qk_norm_rope.plan(*given, ring[0], ring[1], EPS, outputs["q"], kept, scales),)

    def twin() -> dict[str, Tensor]:
        rings, kept = ring.clone().fill_(float("nan")), torch.empty_like(poison[3]) if unrotated else None
        queries = reference.qk_norm_rope(*given, rings[0], rings[1], EPS, kept, scales)
        made = {"q": queries, "k_ring": rings[0], "v_ring": rings[1]}
        return made if kept is None else made | {"unrotated": kept}

    label = size.name + (" + keys kept" if unrotated else "") + (" fp8" if fp8 else "")
    return Case("qk_norm_rope", label, launches, twin, outputs, inputs.bytes)


def _parts(size: Size, inputs: Inputs, batch: int, count: int) -> tuple[Tensor, ...]:
    """`count` of the six conditions of a block, `[B, G, d]` views of one tensor as worlds/wan has them."""
    return inputs.normal(batch, size.frames, 6, size.dim, dtype=torch.float32, spread=0.3).unbind(2)[:count]


def norm_modulate_case(size: Size, inputs: Inputs, batch: int = 1, fp8: bool = False) -> Case:
    """With an offset of 3, which a variance of squares alone would lose digits to."""
    x = inputs.normal(batch, size.frames * size.tokens, size.dim, mean=3.0)
    shift, scale = _parts(size, inputs, batch, 2)
    outputs = _norm_outputs(inputs, tuple(x.shape), fp8)
    return Case(
        "norm_modulate",
        size.name + (" fp8" if fp8 else ""),
        lambda: (norm_modulate.plan(x, shift, scale, EPS, outputs["out"], outputs.get("scales")),),
        lambda: _rounded(reference.modulated(x, shift, scale, EPS), fp8),
        outputs,
        inputs.bytes,
    )


def residual_norm_case(
    size: Size, inputs: Inputs, batch: int = 1, fp8: bool = False, gated: bool = True, affine: bool = False
) -> Case:
    """x is both read and written: `outputs` holds it, and the launches begin by putting the first x back. The twin's
    norm is of the x that the kernel has stored, which is compared by itself."""
    shape = (batch, size.frames * size.tokens, size.dim)
    first, added = inputs.normal(*shape, mean=1.0), inputs.normal(*shape)
    x = inputs.counted(first.clone())
    gate, shift, scale = _parts(size, inputs, batch, 3)
    if affine:
        shift, scale = (inputs.normal(size.dim, dtype=torch.float32, mean=mean, spread=0.2) for mean in (0.0, 1.0))
    outputs = {"x": x} | _norm_outputs(inputs, shape, fp8)
    factor = gate if gated else None

    def launches() -> tuple[Launch, ...]:
        x.copy_(first)
        out, scales = outputs["out"], outputs.get("scales")
        return (residual_norm.plan(x, added, factor, shift, scale, EPS, affine, out, scales),)

    def twin() -> dict[str, Tensor]:
        normed = reference.layer_norm(x, scale, shift, EPS) if affine else reference.modulated(x, shift, scale, EPS)
        return {"x": reference.added_to(first, added, factor)} | _rounded(normed, fp8)

    label = size.name + (" affine" if affine else "") + ("" if gated else " ungated") + (" fp8" if fp8 else "")
    return Case("residual_norm", label, launches, twin, outputs, inputs.bytes)


def rms_norm_case(size: Size, inputs: Inputs, batch: int = 1) -> Case:
    """Queries that are a slice of a wider product."""
    wide = inputs.normal(batch, size.frames * size.tokens, size.dim + 64)
    x, weight = wide[..., 32:-32], inputs.normal(size.dim, dtype=torch.float32, spread=0.2, mean=1.0)
    outputs = _named(inputs.poisoned(*x.shape))
    return Case(
        "rms_norm",
        size.name,
        lambda: (rms_norm.plan(x, weight, EPS, outputs["out"]),),
        lambda: _named(reference.rms_norm(x, weight, EPS)),
        outputs,
        inputs.bytes,
    )


def bias_gelu_case(size: Size, inputs: Inputs, batch: int = 1, fp8: bool = False, bias: bool = True) -> Case:
    """Values to both ends of the activation."""
    x = inputs.normal(batch, size.frames * size.tokens, size.ffn, spread=3.0)
    added = inputs.normal(size.ffn) if bias else None
    outputs = _norm_outputs(inputs, tuple(x.shape), fp8)
    return Case(
        "bias_gelu",
        size.name + ("" if bias else " no bias") + (" fp8" if fp8 else ""),
        lambda: (bias_gelu.plan(x, added, outputs["out"], outputs.get("scales")),),
        lambda: _rounded(reference.bias_gelu(x, added), fp8),
        outputs,
        inputs.bytes,
    )


def quantise_rows_case(size: Size, inputs: Inputs, batch: int = 1) -> Case:
    """What an attention gives, for the product after it."""
    x = inputs.normal(batch, size.frames * size.tokens, size.dim)
    outputs = _norm_outputs(inputs, tuple(x.shape), True)
    return Case(
        "quantise_rows",
        size.name,
        lambda: (quantise_rows.plan(x, outputs["out"], outputs["scales"]),),
        lambda: _rounded(x.float(), True),
        outputs,
        inputs.bytes,
    )


def scheduler_step_case(size: Size, inputs: Inputs, dtype: torch.dtype = torch.bfloat16, last: bool = False) -> Case:
    """One step from level 0.9 to 0.7, or the last, from 0.3."""
    shape = (1, 16, size.frames, *size.latent)
    noisy, velocity = (inputs.normal(*shape, dtype=dtype) for _ in range(2))
    noise = None if last else inputs.normal(*shape, dtype=dtype)
    levels = torch.tensor([0.3] if last else [0.9375, 0.7], device=noisy.device)
    outputs = {"clean": inputs.poisoned(*shape, dtype=dtype)}
    if not last:
        outputs["next"] = inputs.poisoned(*shape, dtype=dtype)

    def twin() -> dict[str, Tensor]:
        clean, following = reference.scheduler_step(noisy, velocity, levels, noise)
        if following is None or noise is None:
            return {"clean": clean}
        # of the clean latents that the kernel has stored, which are compared by themselves
        stored = (1 - levels[1]) * outputs["clean"].float() + levels[1] * noise.float()
        return {"clean": clean, "next": stored.to(dtype)}

    def launches() -> tuple[Launch, ...]:
        return (scheduler_step.plan(noisy, velocity, levels, noise, outputs["clean"], outputs.get("next")),)

    label = f"{size.name} {str(dtype).removeprefix('torch.')}" + (" last" if last else "")
    return Case("scheduler_step", label, launches, twin, outputs, inputs.bytes)


def i420_case(size: Size, inputs: Inputs, dtype: torch.dtype = torch.float32) -> Case:
    """Four pictures for every latent frame, with values beyond both ends."""
    rows, columns = size.picture
    rgb = inputs.normal(3, 4 * size.frames, rows, columns, dtype=torch.float32 if dtype == torch.uint8 else dtype)
    if dtype == torch.uint8:
        inputs.bytes -= rgb.nbytes
        rgb = inputs.counted(reference.pictures(rgb).contiguous())
    outputs = _named(inputs.poisoned(4 * size.frames, rows * 3 // 2, columns, dtype=torch.uint8))
    return Case(
        "i420",
        f"{size.name} {str(dtype).removeprefix('torch.')}",
        lambda: (i420.plan(rgb, outputs["out"]),),
        lambda: _named(reference.i420(rgb)),
        outputs,
        inputs.bytes,
    )


def action_case(size: Size, inputs: Inputs, batch: int = 1, mouse: bool = True) -> Case:
    """A window that is two frames short of full: their slots, the first and the last, hold NaN and no position."""
    heads, head, slots, t, s = ACTION_HEADS, ACTION_HEAD, ACTION_WINDOW + 2, size.frames, size.tokens
    width, owners = heads * head, batch * s if mouse else batch
    past = ACTION_WINDOW - t
    frame_slots = inputs.given(list(range(1 + past, 1 + past + t)), torch.int32)
    positions = inputs.given([-1, *range(past + t), -1], torch.int32)
    queries = inputs.given(list(range(past, past + t)), torch.int32)
    angles = action_attention.time_angles(16, 8, 256.0, queries.device)
    first = inputs.normal(2, owners, slots, heads, head)
    inputs.bytes = inputs.bytes * past // slots  # of the ring only the earlier frames are read
    first[:, :, [0, -1]] = float("nan")
    ring = first.clone()
    qkv = inputs.normal(batch, t, s, 3 * width if mouse else width)
    kv = None if mouse else inputs.normal(batch, t, 2 * width)
    out = inputs.poisoned(batch, t, s, width)
    outputs = {"out": out, "k_ring": ring[0], "v_ring": ring[1]}
    inputs.bytes += 2 * owners * t * width * 2  # the chunk's keys and values are written
    times = (frame_slots, positions, queries, angles)

    def launches() -> tuple[Launch, ...]:
        ring.copy_(first)
        if mouse:
            q, k, v = qkv.unflatten(-1, (3, heads, head)).unbind(3)
            return (action_attention.plan(q, (k, v), ring[0], ring[1], *times, EPS, out),)
        assert kv is not None
        k, v = kv.unflatten(-1, (2, heads, head)).unbind(2)
        written = action_attention.plan_keys(k, v, ring[0], ring[1], frame_slots, EPS)
        return written, action_attention.plan(
            qkv.unflatten(-1, (heads, head)), None, ring[0], ring[1], *times, EPS, out
        )

    def twin() -> dict[str, Tensor]:
        k_ring, v_ring = first.clone()
        if kv is None:
            seen = action_attention.mouse_reference(qkv, k_ring, v_ring, *times, EPS)
        else:
            seen = action_attention.keyboard_reference(qkv, kv, k_ring, v_ring, *times, EPS)
        return {"out": seen, "k_ring": k_ring, "v_ring": v_ring}

    label = f"{size.name} {'mouse' if mouse else 'keyboard'}"
    return Case("action_attention", label, launches, twin, outputs, inputs.bytes)


def cases(size: Size, device: torch.device | str, seed: int = 0, batch: int = 1) -> Iterator[Case]:
    """All operators at one size, each on inputs of its own, made when asked for."""
    made: list[Callable[[Inputs], Case]] = [
        lambda i: qk_norm_rope_case(size, i, batch),
        lambda i: qk_norm_rope_case(size, i, batch, unrotated=True),
        lambda i: qk_norm_rope_case(size, i, batch, fp8=True),
        lambda i: qk_norm_rope_case(size, i, batch, unrotated=True, fp8=True),
        lambda i: norm_modulate_case(size, i, batch),
        lambda i: norm_modulate_case(size, i, batch, fp8=True),
        lambda i: residual_norm_case(size, i, batch),
        lambda i: residual_norm_case(size, i, batch, fp8=True),
        lambda i: residual_norm_case(size, i, batch, affine=True),
        lambda i: residual_norm_case(size, i, batch, affine=True, fp8=True),
        lambda i: residual_norm_case(size, i, batch, gated=False),
        lambda i: rms_norm_case(size, i, batch),
        lambda i: bias_gelu_case(size, i, batch),
        lambda i: bias_gelu_case(size, i, batch, fp8=True),
        lambda i: quantise_rows_case(size, i, batch),
        lambda i: scheduler_step_case(size, i),
        lambda i: scheduler_step_case(size, i, last=True),
        lambda i: scheduler_step_case(size, i, torch.float32),
        lambda i: i420_case(size, i),
        lambda i: i420_case(size, i, torch.bfloat16),
        lambda i: i420_case(size, i, torch.uint8),
        lambda i: action_case(size, i, batch),
        lambda i: action_case(size, i, batch, mouse=False),
    ]
    for number, make in enumerate(made):
        yield make(Inputs(1000 * seed + number, device))


# Spacing of neighbouring numbers, relative to the smaller ones between two powers of two; of float32 eight of them,
# because sums over a row are made in another order.
ULP = {torch.bfloat16: 2.0**-7, torch.float32: 2.0**-20, FP8: 2.0**-3}


def worst_difference(case: Case, expected: dict[str, Tensor]) -> float:
    """Of all outputs from `expected`, in units of the last place; bytes of pictures count as units. Of numbers below a
    quarter of the root mean square the unit is that of a quarter: what cancelled has no more digits than its parts.

    Raises AssertionError beyond one unit, and where a value was left unwritten or written where none belongs.
    """
    worst = 0.0
    for name, got in case.outputs.items():
        wanted = expected[name]
        assert got.dtype == wanted.dtype, f"{name} is {got.dtype}, not {wanted.dtype}"
        a, b = got.float(), wanted.float()
        assert torch.equal(a.isnan(), b.isnan()), f"{name}: {int((a.isnan() != b.isnan()).sum())} values (un)written"
        a, b = a.nan_to_num(), b.nan_to_num()
        size = b.abs().clamp(min=float(b[b != 0].square().mean().sqrt()) / 4) * ULP.get(got.dtype, 0.0)
        worst = max(worst, float(((a - b).abs() / (size if got.dtype in ULP else 1.0)).max()))
        assert worst <= 1.0, f"{name} is off by {worst:.1f} units in the last place"
    return worst
