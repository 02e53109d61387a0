"""The faster of two feed-forward activations that are right; what is wrong, as torch's on a CPU is, is named and left
out."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.worlds.wan.test_rollout import model
from worldstream.worlds.wan import fused_transformer
from worldstream.worlds.wan.activation_choice import (
    WAYS,
    ActivationChoice,
    ProductShape,
    apart,
    choose_activation,
    in_epilogue,
)
from worldstream.worlds.wan.attention_choice import Say
from worldstream.worlds.wan.fused_transformer import FusedTransformer
from worldstream.worlds.wan.kv_cache import KVCache

CPU = torch.device("cpu")
SHAPES = [ProductShape(96, 64, 512, dtype) for dtype in (torch.float32, torch.bfloat16)]


def clock(*ms: float) -> Callable[[Callable[[], object]], float]:
    """A timer that says what it is told, in order."""
    left: Iterator[float] = iter(ms)

    def timed(call: Callable[[], object]) -> float:
        call()
        return next(left)

    return timed


def as_cublaslt(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """What a GPU's epilogue gives: the sum is not rounded before the tanh form."""
    return F.gelu(F.linear(x.float(), weight.float(), bias.float()), approximate="tanh").to(x.dtype)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("times", "name"), [((3.0, 1.0), "epilogue"), ((1.0, 3.0), "apart")])
def test_the_faster_is_chosen(shape: ProductShape, times: tuple[float, float], name: str) -> None:
    ways = {"apart": apart, "epilogue": as_cublaslt}
    choice = choose_activation(shape, CPU, pytest.fail, clock(*times), ways)
    assert choice.name == name
    assert choice.activates is ways[name]
    assert str(choice).startswith(f"{name} ({name} 1.000, ")


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_form_with_erf_is_told_from_that_with_tanh(shape: ProductShape) -> None:
    """In bfloat16 too, where they lie within two units in the last place but for the tail."""
    said: list[str] = []
    choice = choose_activation(shape, CPU, said.append)
    assert (choice.name, set(choice.ms)) == ("apart", {"apart"})
    assert len(said) == 1
    assert "not in the product's epilogue (off by 0.0" in said[0]


def test_what_refuses_is_named_and_nothing_at_all_is_no_failure() -> None:
    def refuses(*_: Tensor) -> Tensor:
        raise RuntimeError("CUBLAS_STATUS_NOT_SUPPORTED\nmore lines")

    said: list[str] = []
    ways = {"one": refuses, "other": lambda x, weight, bias: apart(x, weight, bias) * torch.nan}
    assert choose_activation(SHAPES[0], CPU, said.append, ways=ways) == ActivationChoice("apart", apart)
    assert [line.split(": ", 1)[1] for line in said] == [
        "not one (CUBLAS_STATUS_NOT_SUPPORTED)", "not other (off by nan)", "nothing could be measured here; apart"
    ]  # fmt: skip


def test_the_epilogue_takes_tokens_as_they_are() -> None:
    """Batch and tokens come back; on a CPU with the form of erf."""
    g = torch.Generator().manual_seed(1)
    x, weight, bias = (torch.randn(*sides, generator=g) for sides in ((2, 5, 16), (24, 16), (24,)))
    assert torch.allclose(in_epilogue(x, weight, bias), F.gelu(F.linear(x, weight, bias)), atol=1e-5)
    assert in_epilogue(x, weight, bias).shape == (2, 5, 24)
    assert list(WAYS) == ["apart", "in the product's epilogue"]


def test_a_fused_pass_uses_what_was_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measured once for each count of tokens, on a GPU only; the feed-forwards of all blocks go through it."""
    made, asked, used = FusedTransformer.of(copy.deepcopy(model("longlive").transformer)), [], []

    def counted(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        used.append(x.shape)
        return apart(x, weight, bias)

    def chosen(shape: ProductShape, device: torch.device, say: Say) -> ActivationChoice:
        asked.append(shape)
        return ActivationChoice("counted", counted)

    monkeypatch.setattr(fused_transformer, "choose_activation", chosen)
    said: list[str] = []
    made.choose_activation(24, said.append)
    assert asked == [], "on a CPU nothing is measured"
    monkeypatch.setattr(FusedTransformer, "device", torch.device("cuda"))
    for rows in (24, 24, 48):
        made.choose_activation(rows, said.append)
    assert [shape.rows for shape in asked] == [24, 48]
    assert said == [f"activation {shape}: counted" for shape in asked]
    monkeypatch.undo()
    c = made.config
    cache = KVCache(c, 2, 4, 6)
    words = made.context(torch.randn(1, 5, c.text_dim))
    made.chunk(torch.randn(1, c.in_channels, 3, 2, 4), torch.tensor([500.0]), words, cache)
    assert len(used) == c.layers
