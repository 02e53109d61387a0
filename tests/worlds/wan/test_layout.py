"""The published layouts: parameter totals, and key for key against diffusers and transformers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from worldstream.worlds.wan import families
from worldstream.worlds.wan.families import FAMILIES
from worldstream.worlds.wan.layout import (
    I2V_14B,
    T2V_1_3B,
    T2V_14B,
    VACE_1_3B,
    Layout,
    TransformerShape,
    from_diffusers,
    matrix_game,
    parameters,
    stripped,
    transformer,
)
from worldstream.worlds.wan.layout_parts import (
    ClipShape,
    TaehvShape,
    TextShape,
    VaeShape,
    clip,
    lora,
    taehv,
    text_encoder,
    vae,
)


@pytest.fixture
def meta() -> Iterator[None]:
    with torch.device("meta"):
        yield


def shapes_of(module: nn.Module) -> Layout:
    return {key: tuple(value.shape) for key, value in module.named_parameters()}


@pytest.mark.parametrize(
    ("table", "total"),
    [
        (transformer(T2V_1_3B), 1_418_996_800),
        (transformer(T2V_14B), 14_288_491_584),
        (vae(VaeShape()), 126_892_531),
        (text_encoder(TextShape()), 5_680_910_336),
        (clip(ClipShape(text_layers=0)), 632_076_800),
        (taehv(TaehvShape()), 11_315_539),
    ],
)
def test_totals_are_the_known_ones(table: Layout, total: int) -> None:
    assert parameters(table) == total


def diffusers_transformer(diffusers: Any, shape: TransformerShape) -> nn.Module:
    options: dict[str, Any] = {
        "num_attention_heads": shape.heads, "attention_head_dim": 128, "in_channels": shape.in_channels,
        "out_channels": shape.out_channels, "text_dim": shape.text, "ffn_dim": shape.ffn, "num_layers": shape.layers,
    }  # fmt: skip
    if shape.image_attention:
        options |= {"image_dim": shape.image, "added_kv_proj_dim": shape.dim}
    if shape.vace_layers:
        layers = list(range(0, shape.layers, 2))
        return diffusers.WanVACETransformer3DModel(**options, vace_layers=layers, vace_in_channels=shape.vace_channels)
    return diffusers.WanTransformer3DModel(**options)


@pytest.mark.parametrize("shape", [T2V_1_3B, I2V_14B, VACE_1_3B], ids=["t2v", "i2v", "vace"])
def test_transformers_are_diffusers_ones_renamed(diffusers: Any, meta: None, shape: TransformerShape) -> None:
    theirs = shapes_of(diffusers_transformer(diffusers, shape))
    renamed = {from_diffusers(key): size for key, size in theirs.items()}
    assert len(renamed) == len(theirs)
    assert renamed == transformer(shape)


def test_an_unknown_diffusers_key_has_no_name() -> None:
    assert from_diffusers("blocks.0.attn3.to_q.weight") is None
    assert from_diffusers("decoder.conv_in.weight") is None


def test_the_vae_has_diffusers_tensors(diffusers: Any, meta: None) -> None:
    theirs = shapes_of(diffusers.AutoencoderKLWan())
    assert Counter(theirs.values()) == Counter(vae(VaeShape()).values())


def test_the_text_encoder_has_the_tensors_of_transformers(transformers: Any, meta: None) -> None:
    config = transformers.UMT5Config(
        vocab_size=384, d_model=64, d_kv=16, d_ff=96, num_layers=3, num_heads=4, feed_forward_proj="gated-gelu"
    )
    theirs = Counter(shapes_of(transformers.UMT5EncoderModel(config)).values())
    ours = text_encoder(TextShape(vocabulary=384, dim=64, ffn=96, heads=4, layers=3))
    assert theirs == Counter(ours.values())


def test_the_image_encoder_counts_as_transformers_does(transformers: Any, meta: None) -> None:
    """Wan's file fuses query, key and value, and stores the projection that transformers keeps elsewhere."""
    config = transformers.CLIPVisionConfig(
        hidden_size=160,
        intermediate_size=640,
        num_hidden_layers=3,
        num_attention_heads=2,
        image_size=224,
        patch_size=14,
    )
    theirs = sum(value.numel() for value in transformers.CLIPVisionModel(config).parameters())
    ours = clip(ClipShape(dim=160, layers=3, embed=32, text_layers=0))
    assert theirs == parameters(ours) - 160 * 32


def test_matrix_game_is_wan_without_text_plus_an_action_module() -> None:
    universal, temple = transformer(matrix_game(4)), transformer(matrix_game(7, mouse=0))
    action = {key: size for key, size in universal.items() if ".action_model." in key}
    assert {int(key.split(".")[1]) for key in action} == set(range(15))
    assert parameters(action) / 15 == pytest.approx(13.7e6, rel=0.01)  # world-model-peers.md 4.2
    assert not any(key.startswith("text_embedding") or "k_img" in key for key in universal)
    first = {key.removeprefix("blocks.0.action_model.") for key in action if key.startswith("blocks.0.")}
    assert {key.rsplit(".", 1)[0] for key in first} == {
        "keyboard_embed.0", "keyboard_embed.2", "mouse_mlp.0", "mouse_mlp.2", "mouse_mlp.3", "t_qkv", "img_attn_q_norm",
        "img_attn_k_norm", "proj_mouse", "key_attn_q_norm", "key_attn_k_norm", "mouse_attn_q", "keyboard_attn_kv",
        "proj_keyboard",
    }  # fmt: skip
    assert universal["blocks.14.action_model.mouse_mlp.0.weight"] == (1024, 1536 + 24)
    assert universal["blocks.0.action_model.keyboard_attn_kv.weight"] == (2048, 1536)
    assert temple["blocks.0.action_model.keyboard_embed.0.weight"] == (128, 7)
    assert not any("mouse_mlp" in key or "t_qkv" in key for key in temple)
    assert universal["patch_embedding.weight"] == (1536, 36, 1, 2, 2)


def test_taehv_keys_are_the_described_ones() -> None:
    table = taehv(TaehvShape())
    decoder = {int(key.split(".")[1]) for key in table if key.startswith("decoder.")}
    assert decoder == {1, 3, 4, 5, 7, 8, 9, 10, 11, 13, 14, 15, 16, 17, 19, 20, 22}
    assert table["decoder.13.conv.weight"] == (256, 128, 1, 1)
    assert "decoder.8.bias" not in table


def test_a_lora_changes_every_linear_of_the_blocks() -> None:
    base = transformer(T2V_1_3B)
    table = lora(T2V_1_3B, 256)
    targets = {key.removeprefix("base_model.model.").removesuffix(".lora_A.weight") for key in table if "lora_A" in key}
    assert targets == {
        key.removesuffix(".weight") for key, s in base.items() if key.startswith("blocks.") and len(s) == 2
    }
    for target in targets:
        outputs, inputs = base[f"{target}.weight"]
        assert table[f"base_model.model.{target}.lora_A.weight"] == (256, inputs)
        assert table[f"base_model.model.{target}.lora_B.weight"] == (outputs, 256)


@pytest.mark.parametrize(
    "prefix", ["", "model.", "generator.model.", "model.diffusion_model.", "module.model._orig_mod."]
)
@pytest.mark.parametrize("inner", ["", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module._fsdp_wrapped_module."])
def test_prefixes_and_wrappers_go(prefix: str, inner: str) -> None:
    names = [f"{prefix}{inner}blocks.0.{inner}ffn.0.weight", f"{prefix}head.head.bias"]
    assert stripped(names) == dict(zip(["blocks.0.ffn.0.weight", "head.head.bias"], names, strict=True))


def test_a_prefix_that_only_some_keys_have_stays() -> None:
    assert set(stripped(["model.a", "b"])) == {"model.a", "b"}


def test_two_keys_never_become_one() -> None:
    with pytest.raises(ValueError, match=r"two tensors are named 'a\.x'"):
        stripped(["a.x", "a._orig_mod.x"])


def test_families_are_consistent() -> None:
    roles = {*families.USUAL_SOURCE}
    for family in FAMILIES.values():
        assert set(family.needs) <= roles
        assert family.windows
        assert all(window >= family.chunk for window in family.windows)
    assert len({family.source for family in FAMILIES.values()}) >= 8
