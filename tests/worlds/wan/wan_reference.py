"""diffusers' Wan transformer as the independent implementation, tiny and random, and what tests of ours share."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from worldstream.worlds.wan.config import WanConfig

TINY = WanConfig(
    dim=48, ffn_dim=64, heads=2, layers=2, in_channels=4, out_channels=4, text_dim=16, text_len=24, freq_dim=32
)
# diffusers finds the image's tokens by counting 512 of text from the end
TINY_I2V = WanConfig(
    dim=48, ffn_dim=64, heads=2, layers=2, in_channels=8, out_channels=4, text_dim=16, text_len=512, freq_dim=32,
    image_dim=20, image_tokens=7,
)  # fmt: skip
ROWS, COLUMNS = 4, 6  # cells of a latent frame: 6 tokens
FRAME = 6
TOLERANCE = 1e-4

TOP = {
    "condition_embedder.time_embedder.linear_1": "time_embedding.0",
    "condition_embedder.time_embedder.linear_2": "time_embedding.2",
    "condition_embedder.time_proj": "time_projection.1",
    "condition_embedder.text_embedder.linear_1": "text_embedding.0",
    "condition_embedder.text_embedder.linear_2": "text_embedding.2",
    "condition_embedder.image_embedder.norm1": "img_emb.proj.0",
    "condition_embedder.image_embedder.ff.net.0.proj": "img_emb.proj.1",
    "condition_embedder.image_embedder.ff.net.2": "img_emb.proj.3",
    "condition_embedder.image_embedder.norm2": "img_emb.proj.4",
    "proj_out": "head.head",
    "scale_shift_table": "head.modulation",
}
IN_BLOCK = [
    ("attn1", "self_attn"), ("attn2", "cross_attn"), ("to_out.0", "o"), ("to_q", "q"), ("to_k", "k"), ("to_v", "v"),
    ("add_k_proj", "k_img"), ("add_v_proj", "v_img"), ("norm_added_k", "norm_k_img"), ("norm2", "norm3"),
    ("ffn.net.0.proj", "ffn.0"), ("ffn.net.2", "ffn.2"), ("scale_shift_table", "modulation"),
    ("proj_in", "before_proj"), ("proj_out", "after_proj"),
]  # fmt: skip


def published(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """diffusers' state dict under the published names."""

    def renamed(key: str) -> str:
        if re.match(r"(vace_)?blocks\.", key):
            for theirs, ours in IN_BLOCK:
                key = re.sub(rf"(?<=\.){re.escape(theirs)}(?=\.|$)", ours, key)
            return key
        name, _, leaf = key.rpartition(".")
        return TOP.get(key) or (f"{TOP[name]}.{leaf}" if name in TOP else key)

    return {renamed(key): value for key, value in state.items()}


def randomised(module: nn.Module, seed: int) -> None:
    """Random parameters, large enough that every one of them shows in the output."""
    g = torch.Generator().manual_seed(seed)
    for name, p in module.named_parameters():
        centre = 1.0 if "norm" in name and name.endswith("weight") else 0.0
        spread = 0.3 if p.dim() == 1 or "table" in name or "modulation" in name else p[0].numel() ** -0.5
        p.data = centre + spread * torch.randn(p.shape, generator=g)


def arguments(config: WanConfig) -> dict[str, Any]:
    """The constructor's arguments in diffusers' words."""
    return {
        "patch_size": config.patch,
        "num_attention_heads": config.heads,
        "attention_head_dim": config.head_width,
        "in_channels": config.in_channels,
        "out_channels": config.out_channels,
        "text_dim": config.text_dim,
        "freq_dim": config.freq_dim,
        "ffn_dim": config.ffn_dim,
        "num_layers": config.layers,
        "cross_attn_norm": config.cross_attn_norm,
        "eps": config.eps,
        "image_dim": config.image_dim,
        "added_kv_proj_dim": config.dim if config.image_attention else None,
    }


def reference(config: WanConfig, seed: int = 0) -> Any:
    """A random `WanTransformer3DModel`, or `WanVACETransformer3DModel` for a configuration with VACE layers."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", category=FutureWarning)
        from diffusers import WanTransformer3DModel, WanVACETransformer3DModel
    plain: Any = WanTransformer3DModel  # diffusers is typed in part
    with_control: Any = WanVACETransformer3DModel
    if config.vace_layers:
        vace = {"vace_layers": list(config.vace_layers), "vace_in_channels": config.vace_channels}
        model = with_control(**arguments(config), **vace)
    else:
        model = plain(**arguments(config))
    randomised(model, seed)
    return model.eval().requires_grad_(False)


def error(ours: Tensor, theirs: Tensor) -> float:
    """The largest difference, relative to the largest value."""
    assert ours.shape == theirs.shape, (ours.shape, theirs.shape)
    return float((ours - theirs).abs().max() / theirs.abs().max())


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def per_token(timestep: Tensor, tokens: int) -> Tensor:
    """`[B, T]` of latent frames to `[B, T * tokens]`, as diffusers takes it."""
    return timestep.repeat_interleave(tokens, 1)


def attended_frames(sizes: Sequence[int], window: int, sink: int) -> list[tuple[range, list[int]]]:
    """For chunks of these sizes: their frames, and the frames that they attend to. `window` counts both."""
    out, begin = [], 0
    for size in sizes:
        end = begin + size
        seen = [f for f in range(end) if f < sink or f >= end - (window - sink)]
        out.append((range(begin, end), seen))
        begin = end
    return out


Processor = Callable[..., Tensor]


def masked(sizes: Sequence[int], window: int, sink: int, tokens: int) -> Processor:
    """diffusers' own attention with a block-causal mask of a window and a sink: absolute positions."""
    from diffusers.models.transformers.transformer_wan import WanAttnProcessor

    frames = sum(sizes)
    mask = torch.zeros(frames, frames, dtype=torch.bool)
    for chunk, seen in attended_frames(sizes, window, sink):
        mask[chunk.start : chunk.stop, seen] = True
    mask = mask.repeat_interleave(tokens, 0).repeat_interleave(tokens, 1)
    kind: Any = WanAttnProcessor
    plain = kind()

    def process(attn: Any, x: Tensor, _encoder: None, _mask: None, rotary: tuple[Tensor, Tensor]) -> Tensor:
        return plain(attn, x, None, mask, rotary)

    return process


def relative(sizes: Sequence[int], window: int, sink: int, tokens: int) -> Processor:
    """The same sums in a plain loop over chunks, with positions counted from the oldest frame that a chunk sees."""

    def turned(x: Tensor, rotary: tuple[Tensor, Tensor], positions: list[int]) -> Tensor:
        cos, sin = (t[0, :, 0].unflatten(0, (-1, tokens))[positions].flatten(0, 1)[:, None, ::2] for t in rotary)
        a, b = x[..., ::2], x[..., 1::2]
        return torch.stack([a * cos - b * sin, a * sin + b * cos], -1).flatten(-2).float()

    def process(attn: Any, x: Tensor, _encoder: None, _mask: None, rotary: tuple[Tensor, Tensor]) -> Tensor:
        q, k = attn.norm_q(attn.to_q(x)), attn.norm_k(attn.to_k(x))
        q, k, v = (t.unflatten(2, (attn.heads, -1)).unflatten(1, (-1, tokens)) for t in (q, k, attn.to_v(x)))
        out = []
        for chunk, seen in attended_frames(sizes, window, sink):
            own = [seen.index(f) for f in chunk]
            queries = turned(q[:, chunk.start : chunk.stop].flatten(1, 2), rotary, own)
            keys = turned(k[:, seen].flatten(1, 2), rotary, list(range(len(seen))))
            scores = torch.einsum("bnhd,bmhd->bhnm", queries, keys) * queries.shape[-1] ** -0.5
            out.append(torch.einsum("bhnm,bmhd->bnhd", scores.softmax(-1), v[:, seen].flatten(1, 2)).flatten(2))
        return attn.to_out[0](torch.cat(out, 1))

    return process


def causal(model: Any, processor: Processor) -> Any:
    """The model with another self-attention."""
    for block in model.blocks:
        block.attn1.set_processor(processor)
    return model
