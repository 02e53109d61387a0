"""CLIP as Wan uses it: the published names, the penultimate rows and the preprocessing, against independent ones."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.worlds.wan.tiny_encoders import relative_error, vision_network
from worldstream.worlds.errors import WeightsError
from worldstream.worlds.wan import layout_parts
from worldstream.worlds.wan.clip import (
    WEIGHTS_FILES,
    ClipEncoder,
    ClipShape,
    load_vision_network,
    preprocess,
    to_transformers,
)
from worldstream.worlds.wan.offload import Offload

TINY = layout_parts.ClipShape(dim=32, layers=3, patch=14, tokens=5, embed=8, text_layers=0)
UNUSED = "visual.head"  # of the vision tower; the text tower is passed over too
TOLERANCE = 1e-4


@pytest.fixture
def published() -> dict[str, Tensor]:
    """A random file as Wan publishes it, the parts without use included."""
    generator = torch.Generator().manual_seed(3)
    state = {name: torch.randn(shape, generator=generator) * 0.3 for name, shape in layout_parts.clip(TINY).items()}
    state |= {"log_scale": torch.tensor(2.0)}
    state |= {"textual.token_embedding.weight": torch.zeros(4, 4), "textual.head.0.weight": torch.zeros(4, 4)}
    return state


@pytest.fixture
def images() -> Tensor:
    return torch.rand(2, 3, 35, 61, generator=torch.Generator().manual_seed(1)) * 2 - 1


def write(folder: Path, state: dict[str, Tensor]) -> Path:
    torch.save(state, folder / WEIGHTS_FILES[0])
    return folder


def plain_tower(weights: dict[str, Tensor], pixels: Tensor, heads: int) -> Tensor:
    """The tower in Wan's names without its last layer, written from the paper of ViT: pre-norm, exact GELU."""

    def norm(x: Tensor, name: str) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        scaled = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
        return scaled * weights[f"visual.{name}.weight"] + weights[f"visual.{name}.bias"]

    def linear(x: Tensor, name: str) -> Tensor:
        return x @ weights[f"visual.{name}.weight"].T + weights[f"visual.{name}.bias"]

    kernel = weights["visual.patch_embedding.weight"]
    patches = F.unfold(pixels, kernel.shape[-1], stride=kernel.shape[-1]).mT  # [B, S-1, 3*p*p]
    x = torch.cat([weights["visual.cls_embedding"].expand(len(pixels), 1, -1), patches @ kernel.flatten(1).T], 1)
    x = norm(x + weights["visual.pos_embedding"], "pre_norm")
    layers = sum(name.endswith("attn.proj.weight") for name in weights)
    for layer in range(layers - 1):
        at = f"transformer.{layer}."
        qkv = linear(norm(x, at + "norm1"), at + "attn.to_qkv").unflatten(-1, (3, heads, -1))
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each [B, heads, S, D/heads]
        mixed = (q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1) @ v
        x = x + linear(mixed.transpose(1, 2).flatten(2), at + "attn.proj")
        y = linear(norm(x, at + "norm2"), at + "mlp.0")
        x = x + linear(y * 0.5 * (1 + torch.erf(y / math.sqrt(2))), at + "mlp.2")
    return x


def test_the_published_file_gives_the_penultimate_rows(
    published: dict[str, Tensor], images: Tensor, tmp_path: Path
) -> None:
    clip = ClipEncoder(write(tmp_path, published), "cpu", torch.float32, heads=2)
    assert not clip.loaded
    ours = clip.encode(images)
    theirs = plain_tower(published, preprocess(images, 28), heads=2)
    assert ours.shape == (2, TINY.tokens, TINY.dim)
    error = relative_error(ours, theirs)
    print(f"max relative error {error:.1e}")
    assert error <= TOLERANCE
    assert torch.allclose(clip.encode(images[0]), ours[:1], atol=1e-5)


def test_transformers_layout_gives_transformers_rows(images: Tensor, tmp_path: Path) -> None:
    network: Any = vision_network()
    with torch.no_grad():
        hidden = network(pixel_values=preprocess(images, 28), output_hidden_states=True).hidden_states
    (tmp_path / "image_encoder").mkdir()
    state = {"vision_model." + name: value.contiguous() for name, value in network.state_dict().items()}
    state |= {"visual_projection.weight": torch.zeros(8, 32), "vision_model.embeddings.position_ids": torch.arange(5)}
    save_file(state, tmp_path / "image_encoder/model.safetensors")
    ours = ClipEncoder(tmp_path, "cpu", torch.float32, heads=2).encode(images)
    error = relative_error(ours, hidden[-2])
    print(f"max relative error {error:.1e}")
    assert error <= TOLERANCE
    assert relative_error(ours, hidden[-1]) > 0.01  # the last layer makes a difference
    assert torch.equal(ClipEncoder(network, "cpu", torch.float32).encode(images), ours)


def test_preprocessing_is_upstreams(images: Tensor) -> None:
    """Written from Wan's: one frame of a film, resized in [-1, 1], then mean and deviation per colour."""
    expected = torch.empty(2, 3, 224, 224)
    for i, image in enumerate(images):
        film = image[:, None]  # [3, 1, H, W]
        resized = F.interpolate(film.transpose(0, 1), size=(224, 224), mode="bicubic", align_corners=False)[0]
        for c, (mean, std) in enumerate([(0.48145466, 0.26862954), (0.4578275, 0.26130258), (0.40821073, 0.27577711)]):
            expected[i, c] = ((resized[c] + 1) / 2 - mean) / std
    assert relative_error(preprocess(images), expected) <= 1e-6


def test_every_key_at_full_size() -> None:
    """32 layers x 1,280, on the meta device: every published name is used once and every parameter is filled."""
    shape = ClipShape()
    table = layout_parts.clip(layout_parts.ClipShape(text_layers=0))
    del table[UNUSED]
    assert len(table) == 7 + 32 * 12
    assert table["visual.pos_embedding"] == (1, 257, 1280)
    assert table["visual.patch_embedding.weight"] == (1280, 3, 14, 14)
    assert table["visual.transformer.31.attn.to_qkv.weight"] == (3840, 1280)
    assert table["visual.transformer.31.mlp.0.weight"] == (5120, 1280)
    mapped = to_transformers({name: torch.empty(size, device="meta") for name, size in table.items()})
    model: nn.Module = shape.build()
    assert {n: v.shape for n, v in mapped.items()} == {
        n.removeprefix("vision_model."): v.shape for n, v in model.state_dict().items()
    }
    assert ClipShape.of(mapped) == shape
    assert sum(math.prod(size) for size in table.values()) == 630_766_080  # ViT-H/14 without its projection


def test_half_precision_and_offloading(published: dict[str, Tensor], images: Tensor, tmp_path: Path) -> None:
    clip = ClipEncoder(write(tmp_path, published), "cpu", heads=2)
    first = clip.encode(images)
    assert first.dtype == torch.bfloat16
    assert bool(torch.isfinite(first.float()).all())
    clip.offload(Offload.FREE)
    assert not clip.loaded
    assert torch.equal(clip.encode(images), first)


@pytest.mark.parametrize("change", ["missing", "stranger", "shape", "integers", "half a fused layer"])
def test_weights_of_something_else_are_refused(published: dict[str, Tensor], tmp_path: Path, change: str) -> None:
    if change == "missing":
        del published["visual.transformer.1.norm2.bias"]
    elif change == "stranger":
        published["visual.transformer.0.attn.gamma"] = torch.zeros(1)
    elif change == "shape":
        published["visual.pre_norm.weight"] = torch.zeros(33)
    elif change == "integers":
        published["visual.pre_norm.weight"] = torch.zeros(32, dtype=torch.int8)
    else:
        published["visual.transformer.1.attn.to_qkv.weight"] = torch.zeros(64, 32)
    path = write(tmp_path, published) / WEIGHTS_FILES[0]
    with pytest.raises(WeightsError, match=path.name) as caught:
        load_vision_network(path, torch.float32, heads=2)
    assert len(str(caught.value).splitlines()) == 1


def test_missing_weights_and_wrong_pictures(published: dict[str, Tensor], tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=rf"{WEIGHTS_FILES[0]} is missing"):
        ClipEncoder(tmp_path)
    clip = ClipEncoder(write(tmp_path, published), "cpu", torch.float32, heads=2)
    for picture in (torch.zeros(4, 28, 28), torch.zeros(28, 28), torch.zeros(3, 28, 28, dtype=torch.uint8)):
        with pytest.raises(ValueError, match=r"a picture is \[B, 3, H, W\] in \[-1, 1\]"):
            clip.encode(picture)
