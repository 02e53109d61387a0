"""Encoders small enough to run in milliseconds, and a tokenizer made on the spot."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from worldstream.worlds.wan.layout_parts import TextShape, text_encoder
from worldstream.worlds.wan.text import to_transformers

WORDS = (
    "a forest at dawn, mist between the trees",
    "walk along the shore, the sea is calm and grey",
    "Gehe über die Brücke in die Stadt",
    "走过森林，阳光明媚",
)


def library(name: str) -> Any:
    """An optional package whose own deprecations are not ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        return importlib.import_module(name)


def tokenizer_pieces() -> list[tuple[str, float]]:
    """Like UMT5's: <pad> 0, </s> 1, <unk> 2, then pieces with their log probability."""
    words = sorted({"\u2581" + word for sentence in WORDS for word in sentence.split()})
    letters = sorted({letter for word in words for letter in word})
    return [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *((w, -4.0) for w in words), *((c, -8.0) for c in letters)]


def write_tokenizer(path: Path) -> Path:
    """A tokenizer.json: Unigram pieces, `</s>` behind every prompt."""
    tokenizers = library("tokenizers")
    pieces = tokenizer_pieces()
    made = tokenizers.Tokenizer(tokenizers.models.Unigram(pieces, unk_id=2))
    made.add_special_tokens(["<pad>", "</s>", "<unk>"])
    made.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", made.token_to_id("</s>"))]
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    made.save(str(path))
    return path


def text_network(seed: int = 0, layers: int = 2) -> nn.Module:
    """A random `transformers.UMT5EncoderModel`; norms and position biases random too, so that a swap would show."""
    transformers = library("transformers")
    config = transformers.UMT5Config(
        vocab_size=256, d_model=16, d_kv=6, d_ff=24, num_layers=layers, num_heads=4, dropout_rate=0.0,
        feed_forward_proj="gated-gelu",
    )  # fmt: skip
    return randomised(transformers.UMT5EncoderModel(config), seed)


def to_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A UMT5 state dict in transformers' names -> in Wan's, by the published table."""
    layers = sum(name.endswith("SelfAttention.q.weight") for name in state)
    blank = {name: torch.empty(0) for name in text_encoder(TextShape(layers=layers))}
    published = dict(zip(to_transformers(blank), blank, strict=True))
    return {published[name]: value for name, value in state.items() if name != "encoder.embed_tokens.weight"}


def vision_network(seed: int = 0, layers: int = 3) -> nn.Module:
    """A random `transformers.CLIPVisionModel` with ViT-H's kind of layers, 5 tokens of 32 numbers."""
    transformers = library("transformers")
    config = transformers.CLIPVisionConfig(
        hidden_size=32, intermediate_size=128, num_hidden_layers=layers, num_attention_heads=2, image_size=28,
        patch_size=14, hidden_act="gelu", projection_dim=8,
    )  # fmt: skip
    return randomised(transformers.CLIPVisionModel(config), seed)


def randomised(module: nn.Module, seed: int) -> nn.Module:
    """Every parameter drawn anew."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.3
    return module.eval().requires_grad_(False)


def relative_error(ours: Tensor, theirs: Tensor) -> float:
    """The largest difference, relative to the largest number."""
    return float((ours - theirs).abs().max() / theirs.abs().max())
