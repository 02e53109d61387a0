"""The fastest attention that is right is chosen; what is wrong is named in one line; none at all is no failure."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from worldstream.worlds.wan.attention import attend
from worldstream.worlds.wan.attention_choice import (
    LOW_EIGHT,
    PLAIN,
    AttentionShape,
    Candidate,
    candidates,
    choose,
    in_eight_bits,
    preferring,
)

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


def test_eight_bits_are_scaled_head_by_head(monkeypatch: pytest.MonkeyPatch) -> None:
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
    k[:, :, 1] *= 50  # one head is much larger than the other
    v[:, :, 0] *= 0.01
    ours, exact = in_eight_bits(q, k / 10, v), attend(q, k / 10, v)
    for head in (slice(16), slice(16, None)):
        assert (ours[..., head] - exact[..., head]).norm() / exact[..., head].norm() < LOW_EIGHT


def test_a_backend_that_refuses_a_shape_is_followed_by_another() -> None:
    q, k, v = tensors()
    assert torch.allclose(preferring("cudnn")(q, k, v), attend(q, k, v), atol=1e-6)  # a CPU has none
