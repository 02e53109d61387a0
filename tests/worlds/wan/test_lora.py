"""LoRA on Wan's names: equal to plain arithmetic, several at once, switched without a trace."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from tests.worlds.wan.tiny_encoders import relative_error
from tests.worlds.wan.tiny_lora import (
    DIM,
    RANK,
    WRITERS,
    Pair,
    drawn,
    linears,
    tiny,
    write_comfy,
    write_diffusers,
    write_longlive,
    write_peft,
)
from worldstream.worlds.errors import WeightsError
from worldstream.worlds.wan.lora import Adapters, merged

TOLERANCE = 1e-5


def reference(x: Tensor, adapters: list[tuple[dict[str, Pair], float]]) -> Tensor:
    """As peft computes it, result + B(A(x)) * scaling per layer, with every linear replaced before the run."""
    model = tiny()

    class WithLora(nn.Module):
        def __init__(self, base: nn.Linear, terms: list[tuple[Tensor, Tensor, float]]) -> None:
            super().__init__()
            self.base, self.terms = base, terms

        def forward(self, x: Tensor) -> Tensor:
            result = x @ self.base.weight.T + self.base.bias
            for a, b, scaling in self.terms:
                result = result + ((x @ a.T) @ b.T) * scaling
            return result

    for name in linears(model):
        terms = [(*pairs[name], scaling) for pairs, scaling in adapters if name in pairs]
        parent, _, child = name.rpartition(".")
        base = model.get_submodule(name)
        assert isinstance(base, nn.Linear)
        setattr(model.get_submodule(parent), child, WithLora(base, terms))
    return model(x)


@pytest.fixture
def x() -> Tensor:
    return torch.randn(2, 5, DIM, generator=torch.Generator().manual_seed(9))


@pytest.mark.parametrize("write", WRITERS)
def test_every_spelling_equals_plain_arithmetic(
    write: Callable[[Path, dict[str, Pair]], Path], tmp_path: Path, x: Tensor
) -> None:
    model = tiny()
    pairs = drawn(linears(model), 1)
    adapters = Adapters(model)
    adapters.load("style", write(tmp_path / "lora.safetensors", pairs))
    adapters.set_scales({"style": 0.7})
    expected = reference(x, [(pairs, 0.7)])
    error = relative_error(model(x), expected)
    print(f"{write.__name__}: max relative error {error:.1e}")
    assert error <= TOLERANCE
    assert relative_error(model(x), tiny()(x)) > 0.1


def test_several_at_once_switched_between_chunks(tmp_path: Path, x: Tensor) -> None:
    model = tiny()
    before = model(x)
    first, second = drawn(linears(model), 1), drawn(linears(model)[::2], 2, rank=5)
    adapters = Adapters(model)
    adapters.load("first", write_peft(tmp_path / "1.safetensors", first))
    adapters.load("second", write_comfy(tmp_path / "2.safetensors", drawn(linears(model)[1:4], 3)))
    adapters.remove("second")
    adapters.load("second", write_diffusers(tmp_path / "2.safetensors", second))
    assert adapters.names == ("first", "second")
    assert torch.equal(model(x), before)  # loaded at scale 0
    for scales in ({"first": 1.0}, {"second": -0.5}, {"first": 0.25, "second": 2.0}, {"second": 2.0, "first": 0.5}):
        adapters.set_scales(scales)
        chosen = [(first, scales.get("first", 0.0)), (second, scales.get("second", 0.0))]
        assert relative_error(model(x), reference(x, chosen)) <= TOLERANCE
    adapters.set_scales({})
    assert adapters.active == ()
    assert torch.equal(model(x), before)


def test_scale_zero_and_removal_leave_nothing(tmp_path: Path, x: Tensor) -> None:
    model = tiny().bfloat16()
    x = x.bfloat16()
    before, weights = model(x), {name: value.clone() for name, value in model.state_dict().items()}
    adapters = Adapters(model)
    adapters.load("style", write_peft(tmp_path / "lora.safetensors", drawn(linears(model), 1)))
    assert not any(module._forward_hooks for module in model.modules())
    assert adapters.bytes == sum(
        (RANK * (m.in_features + m.out_features)) * 2 for m in map(layer_of(model), linears(model))
    )
    adapters.set_scales({"style": 1.0})
    assert adapters.active == ("style",)
    assert sum(bool(module._forward_hooks) for module in model.modules()) == len(linears(model))
    assert not torch.equal(model(x), before)
    assert model(x).dtype == torch.bfloat16
    adapters.set_scales({"style": 0.0})
    assert not any(module._forward_hooks for module in model.modules())
    assert torch.equal(model(x), before)
    adapters.set_scales({"style": 1.0})
    adapters.remove("style")
    assert adapters.names == ()
    assert not any(module._forward_hooks for module in model.modules())
    assert torch.equal(model(x), before)
    assert all(torch.equal(weights[name], value) for name, value in model.state_dict().items())


def layer_of(model: nn.Module) -> Callable[[str], nn.Linear]:
    def find(name: str) -> nn.Linear:
        module = model.get_submodule(name)
        assert isinstance(module, nn.Linear)
        return module

    return find


def test_rescaling_reallocates_nothing(tmp_path: Path, x: Tensor) -> None:
    """What a recorded graph reads stays where it is; only which adapters are active would change the graph."""
    model = tiny()
    adapters = Adapters(model)
    adapters.load("style", write_peft(tmp_path / "lora.safetensors", drawn(linears(model), 1)))
    adapters.set_scales({"style": 0.5})
    hook: Any = next(iter(model.head.head._forward_hooks.values()))
    places = [tensor.data_ptr() for tensor in hook.paths["style"]]
    with torch.no_grad():
        first = model(x)
        adapters.set_scales({"style": 0.75})
        assert [tensor.data_ptr() for tensor in hook.paths["style"]] == places
        assert next(iter(model.head.head._forward_hooks.values())) is hook
        assert not torch.equal(model(x), first)


class Recorded(TorchDispatchMode):
    """The operators that run inside."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(func.name())
        return func(*args, **(kwargs or {}))


def test_switching_waits_for_nothing(tmp_path: Path, x: Tensor) -> None:
    """One fill per adapter: nothing that reads a number back from the device, allocates or copies."""
    model = tiny()
    with torch.inference_mode():
        adapters = Adapters(model)
        adapters.load("first", write_peft(tmp_path / "1.safetensors", drawn(linears(model), 1)))
    adapters.load("second", write_peft(tmp_path / "2.safetensors", drawn(linears(model), 2)))
    for scales in ({"first": 1.0}, {"second": 0.5}, {"first": 0.1, "second": 0.2}, {}):
        with Recorded() as switching:
            adapters.set_scales(scales)
        assert switching.names == ["aten::fill_.Scalar"] * 2
        with Recorded() as running, torch.no_grad():
            model(x)
        assert "aten::mm" in " ".join(running.names) or "aten::addmm" in running.names
        assert not [name for name in running.names if "local_scalar" in name or "copy" in name or "item" in name]


def test_merged_for_good(tmp_path: Path, x: Tensor) -> None:
    model = tiny()
    first, second = drawn(linears(model), 1), drawn(linears(model)[::2], 2)
    paths = write_longlive(tmp_path / "1", first), write_comfy(tmp_path / "2.safetensors", second)
    assert merged(model, {paths[0]: 1.0, paths[1]: 0.5}) is model
    error = relative_error(model(x), reference(x, [(first, 1.0), (second, 0.5)]))
    print(f"max relative error {error:.1e}")
    assert error <= TOLERANCE
    assert not any(module._forward_hooks for module in model.modules())


def test_names_and_scales_are_checked(tmp_path: Path, x: Tensor) -> None:
    model = tiny()
    adapters = Adapters(model)
    path = write_peft(tmp_path / "lora.safetensors", drawn(linears(model), 1))
    adapters.load("style", path)
    adapters.set_scales({"style": 0.5})
    before = model(x)
    with pytest.raises(ValueError, match="'style' already"):
        adapters.load("style", path)
    with pytest.raises(ValueError, match="no adapter named 'sepia'; loaded are style"):
        adapters.set_scales({"style": 1.0, "sepia": 1.0})
    with pytest.raises(ValueError, match="no adapter named 'sepia'"):
        adapters.remove("sepia")
    for scale in (math.nan, math.inf):
        with pytest.raises(ValueError, match="must be a finite number"):
            adapters.set_scales({"style": scale})
        with pytest.raises(ValueError, match="must be a finite number"):
            merged(model, {path: scale})
    assert torch.equal(model(x), before)


def test_beside_fp8_weights(tmp_path: Path) -> None:
    """Any layer that says its sizes can carry a side path; merging needs weights that can be added to."""

    class Fp8Linear(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.in_features, self.out_features = DIM, 4
            self.weight = nn.Parameter(torch.randn(4, DIM).to(torch.float8_e4m3fn), requires_grad=False)

        def forward(self, x: Tensor) -> Tensor:
            return F.linear(x, self.weight.to(x.dtype))

    model = nn.Module()
    model.head = Fp8Linear()
    pairs = {"head": drawn(["head.head"], 1)["head.head"]}
    path = write_peft(tmp_path / "lora.safetensors", pairs)
    adapters = Adapters(model)
    adapters.load("style", path)
    adapters.set_scales({"style": 2.0})
    x = torch.randn(3, DIM).bfloat16()
    expected = (
        F.linear(x, model.head.weight.bfloat16())
        + ((x @ pairs["head"][0].bfloat16().T) @ pairs["head"][1].bfloat16().T) * 2
    )
    assert relative_error(model.head(x).float(), expected.float()) < 0.02
    with pytest.raises(WeightsError, match="stored in fp8; merge before quantizing"):
        merged(model, {path: 1.0})
