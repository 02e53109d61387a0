"""LoRA files: their scale is found, and what is damaged or made for another model is refused whole."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor

from tests.worlds.wan.tiny_lora import (
    DIM,
    FFN,
    RANK,
    Tiny,
    diffusers_name,
    drawn,
    linears,
    tensors,
    tiny,
    write_diffusers,
    write_peft,
)
from worldstream.worlds.errors import WeightsError
from worldstream.worlds.wan.lora import Adapters, merged
from worldstream.worlds.wan.lora_file import read_lora


def test_alpha_is_found_wherever_it_is_written(tmp_path: Path) -> None:
    pairs = drawn(["blocks.0.self_attn.q"], 1)
    plain = write_peft(tmp_path / "adapter_model.safetensors", pairs)
    up = pairs["blocks.0.self_attn.q"][1]

    def ratio(path: Path, alpha: float | None = None) -> float:
        return float((read_lora(path, alpha=alpha)["blocks.0.self_attn.q"].up / up).mean())

    assert ratio(plain) == pytest.approx(1.0)
    assert ratio(plain, alpha=6.0) == pytest.approx(2.0)
    (tmp_path / "adapter_config.json").write_text(json.dumps({"r": RANK, "lora_alpha": 9}))
    assert ratio(plain, alpha=6.0) == pytest.approx(3.0)
    (tmp_path / "adapter_config.json").write_text(json.dumps({"lora_alpha": 9, "use_rslora": True}))
    assert ratio(plain) == pytest.approx(9 / math.sqrt(RANK))
    (tmp_path / "adapter_config.json").unlink()
    described = tmp_path / "diffusers.safetensors"
    save_file(
        tensors(pairs, lambda name, side: f"transformer.{diffusers_name(name)}.lora_{side}.weight"),
        described,
        {"format": "pt", "lora_adapter_metadata": json.dumps({"transformer.lora_alpha": 12.0})},
    )
    assert ratio(described) == pytest.approx(4.0)


def unchanged(model: Tiny, load: Callable[[], object], match: str) -> None:
    """`load` is refused with one line and the model is as before."""
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(WeightsError, match=match) as caught:
        load()
    assert len(str(caught.value).splitlines()) == 1
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


def test_a_lora_for_another_base_is_refused_whole(tmp_path: Path) -> None:
    model = tiny()
    adapters = Adapters(model)
    good = write_peft(tmp_path / "good.safetensors", drawn(linears(model), 2))
    pairs = drawn(linears(model), 1)
    pairs["blocks.7.ffn.0"] = (torch.zeros(RANK, DIM), torch.zeros(FFN, RANK))
    deeper = write_peft(tmp_path / "deeper.safetensors", pairs)
    unchanged(
        model, lambda: adapters.load("a", deeper), r"deeper\.safetensors was made for another base.*blocks\.7\.ffn\.0"
    )
    unchanged(model, lambda: merged(model, {good: 1.0, deeper: 1.0}), r"blocks\.7\.ffn\.0")
    del pairs["blocks.7.ffn.0"]
    pairs["blocks.1.ffn.0"] = (torch.zeros(RANK, 40), torch.zeros(FFN, RANK))
    wider = write_diffusers(tmp_path / "wider.safetensors", pairs)
    unchanged(model, lambda: adapters.load("a", wider), r"ffn\.net\.0\.proj.* fits a layer 40 -> 12, .* is 8 -> 12")
    pairs = {"patch_embedding": (torch.zeros(RANK, 4), torch.zeros(DIM, RANK))}
    conv = write_peft(tmp_path / "conv.safetensors", pairs)
    unchanged(model, lambda: adapters.load("a", conv), "patch_embedding .* no linear layer")
    assert adapters.names == ()


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"base_model.model.head.head.lora_A.weight": None}, r"no down \(A\) weight for head\.head"),
        ({"base_model.model.head.head.lora_B.weight": None}, r"no up \(B\) weight for head\.head"),
        ({"base_model.model.head.head.lora_B.weight": torch.zeros(4, 9)}, r"a pair is \[rank, in\]"),
        ({"base_model.model.head.head.lora_B.weight": torch.zeros(4, RANK, 1)}, r"a pair is \[rank, in\]"),
        ({"base_model.model.head.head.lora_A.weight": torch.full((RANK, DIM), torch.inf)}, "not finite"),
        ({"base_model.model.head.head.dora_scale": torch.zeros(4)}, "dora_scale, which is no LoRA layer"),
        ({"base_model.model.head.head.diff_b": torch.zeros(4)}, "full differences are not supported"),
        ({"transformer.proj_out.lora_A.weight": torch.zeros(RANK, DIM)}, "changes head.head twice"),
        ({"head.head.lora_B.other.weight": torch.zeros(4, RANK), "base_model.model.head.head.lora_B.weight": None},
         "several adapters"),
        ({"base_model.model.time_projection.1.alpha": torch.tensor(4.0)}, "alpha for time_projection.1"),
        ({"base_model.model.head.head.alpha": torch.zeros(2)}, "should be one number"),
    ],
)  # fmt: skip
def test_damaged_adapters_are_refused(tmp_path: Path, change: dict[str, Tensor | None], match: str) -> None:
    model = tiny()
    state = tensors(drawn(["head.head"], 1), lambda name, side: f"base_model.model.{name}.lora_{side}.weight")
    for name, value in change.items():
        if value is None:
            del state[name]
        else:
            state[name] = value
    path = tmp_path / "lora.safetensors"
    save_file(state, path)
    unchanged(model, lambda: Adapters(model).load("a", path), match)


def test_files_that_are_no_loras_are_refused(tmp_path: Path) -> None:
    model = tiny()
    path = tmp_path / "lora.safetensors"
    save_file({}, path)
    unchanged(model, lambda: Adapters(model).load("a", path), "holds no LoRA layers")
    unchanged(model, lambda: Adapters(model).load("a", tmp_path / "none.safetensors"), r"none\.safetensors is missing")
    code = tmp_path / "lora.pt"
    torch.save({"generator_lora": {"x": print}}, code)
    unchanged(model, lambda: Adapters(model).load("a", code), "holds code, not only weights, and is not opened")
    torch.save([torch.zeros(1)], code)
    unchanged(model, lambda: Adapters(model).load("a", code), "holds list, not a state dict")
    write_peft(path, drawn(linears(model), 1))
    (tmp_path / "adapter_config.json").write_text('{"use_dora": true}')
    unchanged(model, lambda: Adapters(model).load("a", path), "was trained with use_dora")
    (tmp_path / "adapter_config.json").write_text("[]")
    unchanged(model, lambda: Adapters(model).load("a", path), r"adapter_config\.json cannot be read")


@given(data=st.data())
@settings(max_examples=40)
def test_a_file_with_flipped_or_missing_bytes_never_half_loads(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    model = tiny(blocks=2)
    path = write_peft(tmp_path_factory.mktemp("lora") / "lora.safetensors", drawn(["head.head"], 1))
    whole = path.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    cut = data.draw(st.booleans())
    path.write_bytes(
        whole[:at] if cut else whole[:at] + bytes([whole[at] ^ data.draw(st.integers(1, 255))]) + whole[at + 1 :]
    )
    adapters = Adapters(model)
    refused: list[WeightsError] = []
    try:
        adapters.load("a", path)
    except WeightsError as error:
        refused.append(error)
    if refused:
        assert str(path) in str(refused[0])
        assert adapters.names == ()
    else:  # a number has changed, which no one can see
        assert not cut
        adapters.set_scales({"a": 1.0})
        assert model(torch.zeros(1, DIM)).shape == (1, 4)
