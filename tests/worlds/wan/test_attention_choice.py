"""The fastest attention that is right is chosen; what is wrong is named in one line; none at all is no failure."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from worldstream.kernels.reference import quantised
from worldstream.worlds.wan.attention import attend
from worldstream.worlds.wan.attention_choice import (
    LOW_EIGHT,
    PLAIN,
    AttentionShape,
    Candidate,
    candidates,
    choose,
    flash_eight,
    preferring,
)
from worldstream.worlds.wan.eight_attention import AttentionScales, EightRows, LayerScales, attend_eight

CPU, SHAPE = torch.device("cpu"), AttentionShape(24, 70, 2, 16, torch.float32)


def clock(*ms: float) -> Callable[[Callable[[], object]], float]:
    """A timer that says what it is told, in order."""
    left: Iterator[float] = iter(ms)

    def timed(call: Callable[[], object]) -> float:
        call()
        return next(left)

    return timed


def tensors(seed: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    q, k, v = (torch.randn(1, n, 2, 16, generator=g) for n in (24, 70, 70))
    return q, k, v


@pytest.mark.parametrize(("times", "name"), [((3.0, 1.0), "math"), ((1.0, 3.0), "flash")])
def test_the_faster_is_chosen_and_right(times: tuple[float, float], name: str) -> None:
    said: list[str] = []
    choice = choose(SHAPE, CPU, candidates(CPU, eight=False), said.append, clock(*times))
    assert choice.name == name
    assert choice.ms == dict(zip(("flash", "math"), times, strict=True))
    assert str(choice).startswith(f"{name} ({name} 1.000, ")
    assert said == []
    q, k, v = tensors()
    assert torch.allclose(choice.attends(q, k, v), attend(q, k, v), atol=1e-6)
    assert torch.allclose(choice.attends(q, k[:, :5], v[:, :5]), attend(q, k[:, :5], v[:, :5]), atol=1e-6)


def test_really_measured_on_this_machine() -> None:
    choice = choose(SHAPE, CPU, candidates(CPU, eight=True), pytest.fail)
    assert set(choice.ms) == {"flash", "math"}
    assert all(ms > 0 for ms in choice.ms.values())


def test_what_is_wrong_or_refuses_is_named_and_left_out() -> None:
    said: list[str] = []
    left: list[str] = []

    def refuses(*_: Tensor) -> Tensor:
        raise RuntimeError("No available kernel. Aborting execution.\nmore lines")

    def wrong(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return attend(q, k, v.roll(1, 1))

    ways = [
        Candidate("absent", refuses, leave=lambda: left.append("absent")),
        Candidate("wrong", wrong, leave=lambda: left.append("wrong")),
        Candidate("NaN", lambda q, k, v: attend(q, k, v) * float("nan")),
        Candidate("right", attend, enter=lambda: left.append("entered")),
    ]
    choice = choose(SHAPE, CPU, iter(ways), said.append, clock(9.0))
    assert choice.name == "right"
    assert left == ["absent", "wrong", "entered"]
    choice.enter()
    assert left[-2:] == ["entered"] * 2, "measured, and entered again by whoever uses it"
    assert [line.count("\n") for line in said] == [0] * 3
    assert said[0] == f"attention {SHAPE}: not by absent (No available kernel. Aborting execution.)"
    assert "not by wrong (off by 1" in said[1]
    assert "not by NaN (off by nan)" in said[2]


def test_where_none_is_right_torch_chooses() -> None:
    said: list[str] = []
    assert choose(SHAPE, CPU, iter(()), said.append) is PLAIN
    assert said == [f"attention {SHAPE}: no candidate is right here; torch's own choice"]


def test_packages_are_looked_for() -> None:
    def names(eight: bool, *installed: str) -> list[str]:
        return [way.name for way in candidates(torch.device("cuda"), eight, lambda package: package in installed)]

    own = ["cudnn", "flash", "efficient"]
    assert names(True) == own
    assert names(False, "flash_attn_interface") == [*own, "FA3"]
    assert names(True, "flash_attn_interface") == [*own, "FA3", "FA3 fp8"]
    assert names(True, "flash_attn.cute") == [*own, "FA4"]
    assert names(False, "cudnn") == own
    assert names(True, "cudnn") == [*own, "cuDNN fp8"]


def test_what_reads_eight_bits_is_given_them_and_compared_too() -> None:
    said: list[str] = []
    given: list[tuple[torch.dtype, ...]] = []

    def right(q: Tensor, k: Tensor, v: Tensor, scales: LayerScales) -> EightRows:
        given.append((q.dtype, k.dtype, v.dtype))
        return attend_eight(q, k, v, scales)

    def wrong(q: Tensor, k: Tensor, v: Tensor, scales: LayerScales) -> EightRows:
        out = attend_eight(q, k, v, scales)
        return EightRows(out.bytes, out.scale * 2)

    ways = [
        Candidate("wrong", allowed=LOW_EIGHT, eight=wrong),
        Candidate("eight", allowed=LOW_EIGHT, eight=right),
        Candidate("strict", eight=right),
        Candidate("plain"),
    ]
    choice = choose(SHAPE, CPU, iter(ways), said.append, clock(1.0, 2.0))
    assert (choice.name, choice.eight, set(choice.ms)) == ("eight", right, {"eight", "plain"})
    assert set(given) == {(torch.float8_e4m3fn,) * 3}
    assert "not by wrong (off by 1)" in said[0]
    assert "not by strict (off by 0.0" in said[1]
    assert choose(SHAPE, CPU, iter(ways), said.append, clock(2.0, 1.0)).eight is None


def test_flash_attention_is_told_the_scales_of_all_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through a stand-in for the library that takes its arguments at their word."""
    from torch.nn.attention.experimental import _scaled_dot_product_attention_quantized as library

    def quantized(
        q: Tensor, k: Tensor, v: Tensor, *, q_descale: Tensor, k_descale: Tensor, v_descale: Tensor
    ) -> Tensor:
        assert q.dtype == k.dtype == v.dtype == torch.float8_e4m3fn
        assert q_descale.shape == k_descale.shape == v_descale.shape == (1, 2)
        pairs = ((q, q_descale), (k, k_descale), (v, v_descale))
        a, b, c = (t.float() * scale[:, :, None, None] for t, scale in pairs)
        return torch.nn.functional.scaled_dot_product_attention(a, b, c).bfloat16()

    monkeypatch.setattr(library, "_scaled_dot_product_attention_quantized", quantized)
    q, k, v = tensors()
    scales = AttentionScales(torch.tensor([30.0]), torch.tensor([500.0]))
    scales.fit(0, v)
    layer = scales.layers[0]
    given = quantised(q, layer.queries), quantised(k, layer.keys), quantised(v, layer.values)
    ours, exact = flash_eight(*given, layer), attend(q, k, v)
    assert (ours - exact).norm() / exact.norm() < LOW_EIGHT


def test_a_backend_that_refuses_a_shape_is_followed_by_another() -> None:
    q, k, v = tensors()
    assert torch.allclose(preferring("cudnn")(q, k, v), attend(q, k, v), atol=1e-6)  # a CPU has none
