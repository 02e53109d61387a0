"""Every family from keys and shapes, at full size and tiny; and what is refused."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from worldstream.worlds.errors import CheckpointError
from worldstream.worlds.wan import families
from worldstream.worlds.wan.checkpoint_files import Checkpoint, open_checkpoint
from worldstream.worlds.wan.families import FAMILIES
from worldstream.worlds.wan.layout import (
    DIFFUSERS_BLOCK,
    DIFFUSERS_TOP,
    I2V_14B,
    T2V_1_3B,
    T2V_14B,
    VACE_1_3B,
    ActionShape,
    Layout,
    TransformerShape,
    from_diffusers,
    matrix_game,
    parameters,
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
from worldstream.worlds.wan.recognise import LoraShape, Recognised, UnknownFamily, check_lora, recognise
from worldstream.worlds.wan.safetensors_header import DTYPES, Signature
from worldstream.worlds.wan.synthesize import TINY_CLIP, TINY_TAEHV, TINY_TEXT, TINY_VAE, tiny


def checkpoint(table: Layout, root: str = "", prefix: str = "", file: str = "some.safetensors") -> Checkpoint:
    """What `open_checkpoint` says of a file with this table, without the file."""
    signature: Signature = {prefix + key: (shape, torch.bfloat16) for key, shape in table.items()}
    return Checkpoint((Path(file),), signature, dict.fromkeys(signature, Path(file)), root)


def sparse_file(path: Path, table: Layout) -> Path:
    """A safetensors file of full size whose tensors are holes: it takes no room and no time."""
    header, reached = {}, 0
    name = next(text for text, dtype in DTYPES.items() if dtype == torch.float32)
    for key, shape in table.items():
        end = reached + 4 * parameters({key: shape})
        header[key] = {"dtype": name, "shape": shape, "data_offsets": [reached, end]}
        reached = end
    raw = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(raw)) + raw)
    os.truncate(path, 8 + len(raw) + reached)
    return path


@pytest.mark.parametrize(
    ("shape", "root", "expected"),
    [
        (T2V_1_3B, "", ["wan2.1-t2v-1.3b"]),
        (T2V_14B, "", ["wan2.1-t2v-14b"]),
        (I2V_14B, "", ["wan2.1-i2v-14b-480p", "wan2.1-i2v-14b-720p"]),
        (VACE_1_3B, "", ["wan2.1-vace-1.3b"]),
        (
            T2V_1_3B,
            "generator_ema",
            [
                "self-forcing", "causal-forcing-chunkwise", "causal-forcing-framewise", "longlive",
                "causal-forcing-framewise-2step", "causal-forcing-framewise-1step",
            ],
        ),
        (matrix_game(4), "", ["matrix-game-2-universal"]),
        (matrix_game(2), "", ["matrix-game-2-gta-drive"]),
        (matrix_game(7, mouse=0), "", ["matrix-game-2-temple-run"]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("small", [False, True], ids=["full", "tiny"])
def test_transformers(shape: TransformerShape, root: str, expected: list[str], small: bool) -> None:
    shape = tiny(shape) if small else shape
    part = recognise(checkpoint(transformer(shape), root, "model."))
    assert part.role == families.TRANSFORMER
    assert part.shape == shape
    assert part.parameters == parameters(transformer(shape))
    assert part.published.keys() == transformer(shape).keys()
    if shape.dim == 256 and "14b" in expected[0] and not shape.image:  # nothing but width tells it from 1.3B
        expected = ["wan2.1-t2v-1.3b"]
    assert sorted(part.families) == sorted(expected)


def test_a_full_size_file_is_recognised_without_being_read(tmp_path: Path) -> None:
    path = sparse_file(tmp_path / "weights.safetensors", transformer(T2V_14B))
    assert path.stat().st_size > 57e9
    part = recognise(open_checkpoint(path))
    assert part.families == ("wan2.1-t2v-14b",)
    assert part.describe() == "text-to-video transformer, width 5120, 40 blocks, 14.29 B parameters"


@pytest.mark.parametrize(
    ("role", "shape", "table"),
    [
        (families.VAE, VaeShape(), vae),
        (families.VAE, TINY_VAE, vae),
        (families.TAEHV, TaehvShape(), taehv),
        (families.TAEHV, TINY_TAEHV, taehv),
        (families.TAEHV, TaehvShape(grow=(2, 2, 2)), taehv),
        (families.TEXT, TextShape(), text_encoder),
        (families.TEXT, TINY_TEXT, text_encoder),
        (families.CLIP, ClipShape(), clip),
        (families.CLIP, TINY_CLIP, clip),
    ],
)
def test_other_parts(role: str, shape: Any, table: Callable[[Any], Layout]) -> None:
    part = recognise(checkpoint(table(shape)))
    assert part.role == role
    assert part.shape == shape
    assert part.families == ()
    assert part.layout == table(shape)


def test_clip_without_its_text_tower() -> None:
    part = recognise(checkpoint(clip(ClipShape(text_layers=0))))
    assert isinstance(part.shape, ClipShape)
    assert part.shape.text_layers == 0
    assert part.parameters == 632_076_800


def test_the_name_of_the_file_says_nothing() -> None:
    assert recognise(checkpoint(vae(TINY_VAE), file="diffusion_pytorch_model.safetensors")).role == families.VAE


def diffusers_names(shape: TransformerShape) -> Layout:
    """The table under diffusers' names, by trying the renaming on everything that diffusers could call it."""
    candidates = [f"{m}{leaf}" for m in DIFFUSERS_TOP for leaf in ("", ".weight", ".bias")]
    for kind, count in (("blocks", shape.layers), ("vace_blocks", shape.vace_layers)):
        candidates += [
            f"{kind}.{n}.{m}{leaf}" for n in range(count) for m in DIFFUSERS_BLOCK for leaf in ("", ".weight", ".bias")
        ]
    table = transformer(shape)
    return {name: table[original] for name in candidates if (original := from_diffusers(name)) in table and original}


@pytest.mark.parametrize("base", [T2V_1_3B, I2V_14B, VACE_1_3B], ids=["t2v", "i2v", "vace"])
def test_diffusers_naming(base: TransformerShape) -> None:
    shape = tiny(base)
    theirs = diffusers_names(shape)
    assert len(theirs) == len(transformer(shape))
    part = recognise(checkpoint(theirs))
    assert part.diffusers
    assert part.shape == shape
    assert part.published["blocks.1.norm3.weight"] == "blocks.1.norm2.weight"
    with pytest.raises(CheckpointError, match="unknown key 'blocks\\.0\\.new'"):
        recognise(checkpoint(theirs | {"blocks.0.new": (1,)}))


def refusal(table: Layout) -> str:
    with pytest.raises(CheckpointError) as caught:
        recognise(checkpoint(table))
    text = str(caught.value)
    assert text.startswith("some.safetensors ")
    assert "\n" not in text
    return text


def test_one_tensor_more_less_or_other() -> None:
    table = transformer(tiny(T2V_1_3B))
    key = "blocks.1.cross_attn.norm_k.weight"
    assert f"lacks {key}" in refusal({k: v for k, v in table.items() if k != key})
    assert "also has extra.weight" in refusal(table | {"extra.weight": (1,)})
    assert f"{key} is [3] instead of [256]" in refusal(table | {key: (3,)})
    assert "has no patch_embedding.weight" in refusal({k: v for k, v in table.items() if k != "patch_embedding.weight"})
    assert "another size, patch_embedding.weight [256]" in refusal(table | {"patch_embedding.weight": (256,)})


def test_an_unknown_family_shows_what_was_seen() -> None:
    text = refusal({"down_blocks.0.resnets.0.conv1.weight": (4, 4, 3, 3), "mid.a": (1,), "up.b": (1,), "z": (1,)})
    assert "down_blocks.0.resnets.0.conv1.weight" in text
    assert text.count("keys like") == 1
    assert "supported are Wan 2.1 transformers" in text
    with pytest.raises(UnknownFamily):
        recognise(checkpoint({"a": (1,)}))
    assert "diffusers' own VAE" in refusal({"shared.weight": (4, 4), "encoder.x": (1,)})
    assert "holds no tensors" in refusal({})


def test_weights_that_are_no_fractions() -> None:
    table = vae(TINY_VAE)
    found = checkpoint(table)
    spoiled = {**found.signature, "conv1.weight": (table["conv1.weight"], torch.int8)}
    with pytest.raises(CheckpointError, match=r"stores conv1\.weight as int8; give the weights in bf16"):
        recognise(replace(found, signature=spoiled))


def test_a_hostile_depth_makes_no_hostile_table() -> None:
    assert "999999999" not in str(len(transformer(tiny(T2V_1_3B))))
    text = refusal(transformer(tiny(T2V_1_3B)) | {"blocks.999999999.modulation": (1, 6, 256)})
    assert "1000000000 blocks in" in text


def test_a_foundation_model_and_foreign_sizes_are_no_family() -> None:
    shape = tiny(matrix_game(4))
    foundation = replace(shape, action=ActionShape(4, 2, 2, 16, 128))
    assert recognise(checkpoint(transformer(foundation))).families == ()
    assert recognise(checkpoint(transformer(replace(T2V_1_3B, in_channels=48, out_channels=48)))).families == ()


STYLES: dict[str, Callable[[str], str]] = {
    "peft": lambda key: key,
    "wrapped": lambda key: key.replace("base_model.model.", "base_model.model.model.").replace(
        ".weight", ".default.weight"
    ),
    "diffusers": lambda key: key.replace("base_model.model.", "transformer.").replace("self_attn.q", "attn1.to_q"),
    "native": lambda key: (
        key.replace("base_model.model.", "diffusion_model.").replace("lora_A", "lora_down").replace("lora_B", "lora_up")
    ),
    "kohya": lambda key: (
        "lora_unet_"
        + key.removeprefix("base_model.model.").rsplit(".lora_", 1)[0].replace(".", "_")
        + ".lora_"
        + key.rsplit(".lora_", 1)[1].replace("A", "down").replace("B", "up")
    ),
}


@pytest.mark.parametrize("style", STYLES)
def test_loras_of_every_style(style: str) -> None:
    shape = tiny(T2V_1_3B)
    part = recognise(checkpoint({STYLES[style](key): size for key, size in lora(shape, 4).items()}))
    assert part.role == families.LORA
    assert part.shape == LoraShape(rank=4, width=256, layers=2)
    check_lora(part, recognise(checkpoint(transformer(shape))))


def test_a_lora_for_another_base() -> None:
    made_for_14b = recognise(checkpoint(lora(T2V_14B, 32), file="style.safetensors"))
    base = recognise(checkpoint(transformer(T2V_1_3B), file="base.safetensors"))
    with pytest.raises(CheckpointError, match=r"style\.safetensors is a LoRA for width 5120 and 40 blocks, but base"):
        check_lora(made_for_14b, base)


def test_every_family_has_a_way_to_be_recognised() -> None:
    for name, family in FAMILIES.items():
        part: Recognised = recognise(checkpoint(transformer(family.shape), family.root, family.prefix))
        assert name in part.families
