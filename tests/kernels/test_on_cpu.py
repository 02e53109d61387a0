"""The CUDA sources themselves, executed on this CPU, against float64: rounding is CUDA's own.

The bound is that of one rounding to bf16, half a unit in the last place, which no second rounding would keep.
"""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from benchmarks import operator_cases as made
from benchmarks.operator_cases import Case, Inputs, Size
from worldstream.kernels import host
from worldstream.kernels.host_check import check
from worldstream.kernels.launch import pointer

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="CUDA's headers are wheels for Linux")

SMALL = made.REHEARSAL  # a warp holds a row; pieces fill it
ODD = Size(
    "odd", 2240, 2240, 80, 3, 5, 4, (16, 48), (4, 10)
)  # two warps hold a row, which ends in the middle of one; no heads of a power of two


def ran(case: Case, folder: Path) -> dict[str, Tensor]:
    """In several orders of threads and blocks, every access to memory watched."""
    check(case.launches(), folder)
    return case.outputs


def expect_rounded_once(got: Tensor, exact: Tensor) -> None:
    """`got` bf16 is `exact` float64 rounded once; 2e-6 is for the float32 sums before."""
    error = (got.double() - exact).abs()
    assert not error.isnan().any()
    over = error - (exact.abs() * (2.0**-8 * 1.001) + 2e-6)
    assert over.max() <= 0, f"off by {error.max():.3g}, {(over > 0).double().mean():.2%} of the values"


def expect_rows(outputs: dict[str, Tensor], exact: Tensor) -> None:
    """float8 rows: within half a unit in the last place of e4m3, which has 3 bits, or of its smallest step."""
    value = outputs["out"].double() * outputs["scales"].double()
    most = exact.abs().amax(-1, keepdim=True)
    assert torch.allclose(outputs["scales"].double(), most / 448, rtol=1e-5, atol=0)
    error = (value - exact).abs()
    assert (error <= exact.abs() * (2.0**-4 * 1.001) + most / 448 * 2.0**-10 * 1.001).all()


def unit_norm(x: Tensor) -> Tensor:
    x = x.double()
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + made.EPS).sqrt()


def per_frame(part: Tensor, rows: int) -> Tensor:
    """Conditions `[B, G, d]` beside every token."""
    return part.double().repeat_interleave(rows // part.shape[1], 1)


@pytest.mark.parametrize("fp8", [False, True], ids=["bf16", "fp8"])
@pytest.mark.parametrize(("size", "batch"), [(SMALL, 2), (ODD, 1)], ids=["small", "odd"])
def test_qk_norm_rope(size: Size, batch: int, fp8: bool, compiled_folder: Path) -> None:
    inputs = Recorded(1)
    out = ran(made.qk_norm_rope_case(size, inputs, batch, size is SMALL, fp8), compiled_folder)
    q, k, v = inputs.kept[0].double().chunk(3, -1)
    angle = inputs.kept[3].double()
    tokens = q.shape[1]
    normed = [
        (x / (x.square().mean(-1, keepdim=True) + made.EPS).sqrt() * w.double()).unflatten(-1, (-1, size.head))
        for x, w in ((q, inputs.kept[1]), (k, inputs.kept[2]))
    ]
    turned = [
        torch.view_as_real(
            torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous())
            * torch.polar(torch.ones_like(angle), angle)[:, None]
        ).flatten(-2)
        for x in normed
    ]
    rows = [size.tokens * (size.window - 1 - n // size.tokens) + n % size.tokens for n in range(tokens)]
    keys, values = (out[name].float()[:, rows] for name in ("k_ring", "v_ring"))
    if fp8:
        for got, exact, scale in zip(
            (out["q"], keys, values), (*turned, v.unflatten(-1, (-1, size.head))), inputs.told, strict=True
        ):
            expect_bytes(got, exact, float(scale))
    else:
        expect_rounded_once(out["q"], turned[0])
        expect_rounded_once(keys, turned[1])
        assert torch.equal(values.flatten(2).double(), v)
    others = sorted(set(range(out["k_ring"].shape[1])) - set(rows))
    assert others
    assert out["k_ring"].float()[:, others].isnan().all()
    assert out["v_ring"].float()[:, others].isnan().all()
    if size is SMALL:
        expect_rounded_once(out["unrotated"], normed[1])


def expect_bytes(got: Tensor, exact: Tensor, scale: float) -> None:
    """`got` float8 is `exact` float64 / scale rounded once; what is beyond its range is its largest number."""
    wanted = exact / scale
    within = wanted.abs() <= 448
    assert 0 < within.double().mean() <= 1
    assert torch.equal(got.double()[~within], wanted[~within].sign() * 448)
    error = (got.double() - wanted).abs()[within]
    assert not error.isnan().any()
    bound = wanted.abs()[within] * (2.0**-4 * 1.001) + 2.0**-10 * 1.001
    assert (error <= bound).all(), f"off by {float((error - bound).max()):.3g}"


class Recorded(Inputs):
    """Inputs that remember what was drawn, in order."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed, "cpu")
        self.kept: list[Tensor] = []
        self.told: tuple[Tensor, ...] = ()

    def scales(self, queries: float, keys: float, values: float) -> tuple[Tensor, Tensor, Tensor]:
        self.told = super().scales(queries, keys, values)
        return self.told[0], self.told[1], self.told[2]

    def normal(
        self, *shape: int, dtype: torch.dtype = torch.bfloat16, spread: float = 1.0, mean: float = 0.0
    ) -> Tensor:
        self.kept.append(super().normal(*shape, dtype=dtype, spread=spread, mean=mean))
        return self.kept[-1]


def test_places_outside_the_ring_are_not_written(compiled_folder: Path) -> None:
    """A wrong index on a device cannot raise; it must not reach other memory either."""
    inputs = Recorded(2)
    case = made.qk_norm_rope_case(SMALL, inputs, 2, unrotated=True)
    (launch,) = case.launches()
    slots = torch.tensor([-3, 1 << 40, SMALL.window * SMALL.tokens - 2])  # before it, far beyond it, over its end
    given = list(launch.arguments)
    given[8] = pointer(slots)
    check([replace(launch, arguments=tuple(given))], compiled_folder)
    written = ~case.outputs["v_ring"].isnan().flatten(2).any(-1)
    rows = SMALL.window * SMALL.tokens
    expected = [n - 3 >= 0 for n in range(SMALL.tokens)].count(True)
    assert written.sum(1).tolist() == [expected + 2] * 2
    assert written[:, : SMALL.tokens - 3].all()
    assert written[:, rows - 2 :].all()


@pytest.mark.parametrize("fp8", [False, True], ids=["bf16", "fp8"])
@pytest.mark.parametrize(("size", "batch"), [(SMALL, 2), (ODD, 1)], ids=["small", "odd"])
def test_norm_modulate(size: Size, batch: int, fp8: bool, compiled_folder: Path) -> None:
    inputs = Recorded(3)
    out = ran(made.norm_modulate_case(size, inputs, batch, fp8), compiled_folder)
    shift, scale = (per_frame(part, inputs.kept[0].shape[1]) for part in inputs.kept[1].unbind(2)[:2])
    exact = unit_norm(inputs.kept[0]) * (1 + scale) + shift
    expect_rows(out, exact) if fp8 else expect_rounded_once(out["out"], exact)


@pytest.mark.parametrize(
    ("gated", "affine", "fp8"), [(True, False, False), (True, True, False), (False, False, True)],
    ids=["gate, modulation", "gate, weight and bias", "no gate, fp8"],
)  # fmt: skip
def test_residual_norm(gated: bool, affine: bool, fp8: bool, compiled_folder: Path) -> None:
    inputs = Recorded(4)
    out = ran(made.residual_norm_case(SMALL, inputs, 2, fp8, gated, affine), compiled_folder)
    gate, shift, scale = (per_frame(part, inputs.kept[0].shape[1]) for part in inputs.kept[2].unbind(2)[:3])
    exact = inputs.kept[0].double() + inputs.kept[1].double() * (gate if gated else 1)
    expect_rounded_once(out["x"], exact)
    if affine:
        shift, scale = inputs.kept[3].double(), inputs.kept[4].double() - 1
    normed = unit_norm(out["x"]) * (1 + scale) + shift  # of x as it is stored
    expect_rows(out, normed) if fp8 else expect_rounded_once(out["out"], normed)


def test_rms_norm(compiled_folder: Path) -> None:
    inputs = Recorded(5)
    out = ran(made.rms_norm_case(SMALL, inputs, 2), compiled_folder)
    x = inputs.kept[0][..., 32:-32].double()
    expect_rounded_once(out["out"], x / (x.square().mean(-1, keepdim=True) + made.EPS).sqrt() * inputs.kept[1].double())


@pytest.mark.parametrize(("bias", "fp8"), [(True, False), (True, True), (False, False)])
def test_bias_gelu(bias: bool, fp8: bool, compiled_folder: Path) -> None:
    inputs = Recorded(6)
    out = ran(made.bias_gelu_case(SMALL, inputs, 2, fp8, bias), compiled_folder)
    x = inputs.kept[0].double() + (inputs.kept[1].double() if bias else 0)
    exact = 0.5 * x * (1 + (math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)).tanh())
    expect_rows(out, exact) if fp8 else expect_rounded_once(out["out"], exact)


@pytest.mark.parametrize(("size", "batch"), [(SMALL, 2), (ODD, 1)], ids=["small", "odd"])
def test_quantise_rows(size: Size, batch: int, compiled_folder: Path) -> None:
    inputs = Recorded(10)
    expect_rows(ran(made.quantise_rows_case(size, inputs, batch), compiled_folder), inputs.kept[0].double())


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_scheduler_step(dtype: torch.dtype, last: bool, compiled_folder: Path) -> None:
    inputs = Recorded(7)
    out = ran(made.scheduler_step_case(SMALL, inputs, dtype, last), compiled_folder)
    noisy, velocity, *noise = (x.double() for x in inputs.kept)
    level = torch.tensor(0.3 if last else 0.9375).double()
    exact = noisy - level * velocity
    if dtype == torch.float32:
        assert (out["clean"].double() - exact).abs().max() <= 2.0**-24 * exact.abs().max() * 1.001
    else:
        expect_rounded_once(out["clean"], exact)
    if not last:
        to = torch.tensor(0.7).double()
        again = (1 - to) * out["clean"].double() + to * noise[0]
        if dtype == torch.float32:
            assert torch.allclose(out["next"].double(), again, rtol=3e-7, atol=3e-7)
        else:
            expect_rounded_once(out["next"], again)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.bfloat16], ids=str)
def test_i420_is_opencv_bit_for_bit(dtype: torch.dtype, compiled_folder: Path) -> None:
    import cv2

    from worldstream.worlds.wan.streaming import pictures as to_pictures

    inputs = Recorded(8)
    size = replace(SMALL, picture=(128, 256))  # colours enough to see one unit in any factor
    out = ran(made.i420_case(size, inputs, dtype), compiled_folder)["out"]
    pictures = to_pictures(inputs.kept[0][None])[0]
    assert pictures.min() == 0
    assert pictures.max() == 255
    for frame, picture in zip(out, pictures, strict=True):
        assert torch.equal(frame, torch.from_numpy(cv2.cvtColor(picture.numpy(), cv2.COLOR_RGB2YUV_I420)))


@pytest.mark.parametrize("mouse", [True, False], ids=["mouse", "keyboard"])
def test_action_attention(mouse: bool, compiled_folder: Path) -> None:
    """Against loops over every position, head and frame."""
    inputs, size = Recorded(9), SMALL
    case = made.action_case(size, inputs, 2, mouse)
    past = made.ACTION_WINDOW - size.frames
    before = inputs.kept[0].double()[:, :, 1 : 1 + past]  # [2, owners, past, H, d]
    out = ran(case, compiled_folder)
    heads = (made.ACTION_HEADS, made.ACTION_HEAD)
    if mouse:
        q, k, v = inputs.kept[1].double().unflatten(-1, (3, *heads)).unbind(3)  # [B, T, S, H, d]
    else:
        q = inputs.kept[1].double().unflatten(-1, heads)
        k, v = (x[:, :, None] for x in inputs.kept[2].double().unflatten(-1, (2, *heads)).unbind(2))
    q, k = (x / (x.square().mean(-1, keepdim=True) + made.EPS).sqrt() for x in (q, k))
    k = k.bfloat16().double()  # as the ring keeps them
    for b in range(2):
        for s in range(size.tokens):
            own = s if mouse else 0
            ring = before[:, b * size.tokens + s if mouse else b]
            keys = [turned(x, p) for p, x in enumerate([*ring[0], *k[b, :, own]])]
            values = torch.stack([*ring[1], *v[b, :, own]])
            for t in range(size.frames):
                query = turned(q[b, t, s], past + t)
                scores = torch.stack([(query * key).sum(-1) / 8 for key in keys])  # [window, H]
                expected = (scores.softmax(0)[..., None] * values).sum(0).flatten()
                expect_rounded_once(out["out"][b, t, s], expected)
    assert out["k_ring"][:, [0, -1]].isnan().all(), "slots that nothing was written to"


def turned(x: Tensor, position: int) -> Tensor:
    """`[H, d]` at a place in time: its first eight channels rotated, pair by pair."""
    x = x.clone()
    for pair in range(4):
        angle = position * 256.0 ** (-2 * pair / 8)
        a, b = x[:, 2 * pair].clone(), x[:, 2 * pair + 1].clone()
        x[:, 2 * pair] = a * math.cos(angle) - b * math.sin(angle)
        x[:, 2 * pair + 1] = b * math.cos(angle) + a * math.sin(angle)
    return x


@pytest.mark.parametrize("damage", ["unwritten", "written beyond", "two units off"])
def test_the_comparison_on_a_gpu_can_fail(damage: str, compiled_folder: Path) -> None:
    """What the benchmark asks before it times a kernel."""
    case = made.qk_norm_rope_case(SMALL, Recorded(1), 2, unrotated=True)
    out, expected = ran(case, compiled_folder), case.twin()
    assert made.worst_difference(case, expected) <= 1
    ring = out["k_ring"]
    written = (~ring.isnan()).nonzero()[5]
    if damage == "unwritten":
        ring[tuple(written)] = float("nan")
    elif damage == "written beyond":
        ring[tuple(ring.isnan().nonzero()[5])] = 0
    else:
        out["q"][0, 0, 0, 0] = expected["q"][0, 0, 0, 0] * 1.02 + 0.001
    with pytest.raises(AssertionError, match="off by" if damage == "two units off" else "written"):
        made.worst_difference(case, expected)


def test_a_compiler_is_named_where_there_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(host.NoCompilerError, match="ziglang"):
        host.find_compiler()


def test_a_plain_run_gives_the_same(compiled_folder: Path) -> None:
    """What rehearsals at full size use, which would take too long watched."""
    case = made.qk_norm_rope_case(SMALL, Recorded(1), 2)
    watched = {name: tensor.clone() for name, tensor in ran(case, compiled_folder).items()}
    for tensor in case.outputs.values():
        tensor.fill_(float("nan"))
    for launch in case.launches():
        host.run(launch, compiled_folder)
    for name, tensor in case.outputs.items():
        assert torch.equal(tensor.nan_to_num(9.0), watched[name].nan_to_num(9.0))
