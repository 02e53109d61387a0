"""The published state dicts of what stands around the transformer: decoders, encoders, LoRA.

Sources: Wan-Video/Wan2.1 `wan/modules/{vae,t5,clip,xlm_roberta}.py`, madebyollin/taehv `taehv.py`, peft's naming.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .layout import Layout, TransformerShape, linear, norm

CLIP_HEADS = 16  # of ViT-H; the shapes do not tell
TAEHV_GROW = re.compile(r"decoder\.(?:7|13|19)\.conv\.weight")  # a file may hold more outputs: the last are used


@dataclass(frozen=True, slots=True)
class VaeShape:
    """Wan 2.1's video VAE: stride 4x8x8, channel multipliers 1, 2, 4, 4, two residual blocks a level."""

    dim: int = 96
    latent: int = 16

    @property
    def widths(self) -> tuple[int, int, int, int]:
        """Channels of the four levels, from full resolution down."""
        return self.dim, 2 * self.dim, 4 * self.dim, 4 * self.dim


@dataclass(frozen=True, slots=True)
class TaehvShape:
    """TAEHV's `taew2_1`: widths of the decoder's four stages from the latent up; the encoder is `encoder` wide."""

    latent: int = 16
    widths: tuple[int, int, int, int] = (256, 128, 64, 64)
    encoder: int = 64
    grow: tuple[int, int, int] = (1, 2, 2)  # frames that each TGrow makes of one, as stored


@dataclass(frozen=True, slots=True)
class TextShape:
    """UMT5's encoder in Wan's layout; every block has position biases of its own."""

    vocabulary: int = 256384
    dim: int = 4096
    ffn: int = 10240
    heads: int = 64
    layers: int = 24
    buckets: int = 32


@dataclass(frozen=True, slots=True)
class ClipShape:
    """Open-CLIP XLM-RoBERTa ViT-H/14 in Wan's layout. The published file also holds the text tower, which Wan does not
    use: `text_layers` = 0 is a file without it."""

    dim: int = 1280
    layers: int = 32
    patch: int = 14
    tokens: int = 257
    embed: int = 1024
    text_layers: int = 24
    text_dim: int = 1024
    vocabulary: int = 250002
    text_tokens: int = 514


def _conv3(key: str, inputs: int, outputs: int, size: tuple[int, int, int] = (3, 3, 3)) -> Layout:
    return {f"{key}.weight": (outputs, inputs, *size), f"{key}.bias": (outputs,)}


def _conv2(key: str, inputs: int, outputs: int, size: int = 3, bias: bool = True) -> Layout:
    table: Layout = {f"{key}.weight": (outputs, inputs, size, size)}
    return table | ({f"{key}.bias": (outputs,)} if bias else {})


def _residual(key: str, inputs: int, outputs: int) -> Layout:
    table: Layout = {f"{key}.residual.0.gamma": (inputs, 1, 1, 1)}
    table |= _conv3(f"{key}.residual.2", inputs, outputs)
    table |= {f"{key}.residual.3.gamma": (outputs, 1, 1, 1)}
    table |= _conv3(f"{key}.residual.6", outputs, outputs)
    return table | (_conv3(f"{key}.shortcut", inputs, outputs, (1, 1, 1)) if inputs != outputs else {})


def _middle(key: str, width: int) -> Layout:
    table = _residual(f"{key}.0", width, width) | {f"{key}.1.norm.gamma": (width, 1, 1)}
    table |= _conv2(f"{key}.1.to_qkv", width, 3 * width, 1) | _conv2(f"{key}.1.proj", width, width, 1)
    return table | _residual(f"{key}.2", width, width)


def _vae_head(key: str, inputs: int, outputs: int) -> Layout:
    gamma: Layout = {f"{key}.0.gamma": (inputs, 1, 1, 1)}
    return gamma | _conv3(f"{key}.2", inputs, outputs)


def _vae_encoder(shape: VaeShape) -> Layout:
    widths = shape.widths
    table = _conv3("encoder.conv1", 3, widths[0])
    index, before = 0, widths[0]
    for level, width in enumerate(widths):
        for _ in range(2):
            table |= _residual(f"encoder.downsamples.{index}", before, width)
            index, before = index + 1, width
        if level < 3:
            table |= _conv2(f"encoder.downsamples.{index}.resample.1", width, width)
            if level > 0:  # the first level keeps the frame rate
                table |= _conv3(f"encoder.downsamples.{index}.time_conv", width, width, (3, 1, 1))
            index += 1
    table |= _middle("encoder.middle", widths[3])
    return table | _vae_head("encoder.head", widths[3], 2 * shape.latent)


def _vae_decoder(shape: VaeShape) -> Layout:
    widths = shape.widths[::-1]
    table = _conv3("decoder.conv1", shape.latent, widths[0]) | _middle("decoder.middle", widths[0])
    index, before = 0, widths[0]
    for level, width in enumerate(widths):
        for _ in range(3):
            table |= _residual(f"decoder.upsamples.{index}", before, width)
            index, before = index + 1, width
        if level < 3:
            table |= _conv2(f"decoder.upsamples.{index}.resample.1", width, width // 2)
            if level < 2:  # the last doubling is of space alone
                table |= _conv3(f"decoder.upsamples.{index}.time_conv", width, 2 * width, (3, 1, 1))
            index, before = index + 1, width // 2
    return table | _vae_head("decoder.head", widths[3], 3)


def vae(shape: VaeShape) -> Layout:
    """`Wan2.1_VAE.pth`."""
    table = _vae_encoder(shape)
    table |= _conv3("conv1", 2 * shape.latent, 2 * shape.latent, (1, 1, 1))
    table |= _conv3("conv2", shape.latent, shape.latent, (1, 1, 1))
    return table | _vae_decoder(shape)


def _memory_block(key: str, width: int) -> Layout:
    return (
        _conv2(f"{key}.conv.0", 2 * width, width)
        | _conv2(f"{key}.conv.2", width, width)
        | _conv2(f"{key}.conv.4", width, width)
    )


def taehv(shape: TaehvShape) -> Layout:
    """`taew2_1.pth` (or its safetensors twin)."""
    wide = shape.encoder
    table = _conv2("encoder.0", 3, wide)
    for pool, stride in ((2, 2), (7, 2), (12, 1)):
        table |= _conv2(f"encoder.{pool}.conv", stride * wide, wide, 1, bias=False)
        table |= _conv2(f"encoder.{pool + 1}", wide, wide, bias=False)
        for block in range(pool + 2, pool + 5):
            table |= _memory_block(f"encoder.{block}", wide)
    table |= _conv2("encoder.17", wide, shape.latent) | _conv2("decoder.1", shape.latent, shape.widths[0])
    for stage, (first, stride) in enumerate(zip((3, 9, 15), shape.grow, strict=True)):
        width, following = shape.widths[stage], shape.widths[stage + 1]
        for block in range(first, first + 3):
            table |= _memory_block(f"decoder.{block}", width)
        table |= _conv2(f"decoder.{first + 4}.conv", width, stride * width, 1, bias=False)
        table |= _conv2(f"decoder.{first + 5}", width, following, bias=False)
    return table | _conv2("decoder.22", shape.widths[3], 3)


def text_encoder(shape: TextShape) -> Layout:
    """`models_t5_umt5-xxl-enc-bf16.pth`. Linears have no biases, norms no offsets."""
    dim = shape.dim
    table: Layout = {"token_embedding.weight": (shape.vocabulary, dim)}
    for index in range(shape.layers):
        block = f"blocks.{index}"
        table |= norm(f"{block}.norm1", dim, bias=False)
        for name in ("q", "k", "v", "o"):
            table |= linear(f"{block}.attn.{name}", dim, dim, bias=False)
        table |= norm(f"{block}.norm2", dim, bias=False)
        table |= linear(f"{block}.ffn.gate.0", dim, shape.ffn, bias=False)
        table |= linear(f"{block}.ffn.fc1", dim, shape.ffn, bias=False)
        table |= linear(f"{block}.ffn.fc2", shape.ffn, dim, bias=False)
        table[f"{block}.pos_embedding.embedding.weight"] = (shape.buckets, shape.heads)
    return table | norm("norm", dim, bias=False)


def _clip_text(shape: ClipShape) -> Layout:
    """XLM-RoBERTa with a projection head; published with the vision tower and ignored."""
    dim, middle = shape.text_dim, (shape.text_dim + shape.embed) // 2
    table: Layout = {
        "textual.token_embedding.weight": (shape.vocabulary, dim),
        "textual.type_embedding.weight": (1, dim),
        "textual.pos_embedding.weight": (shape.text_tokens, dim),
    }
    for index in range(shape.text_layers):
        block = f"textual.blocks.{index}"
        for name in ("q", "k", "v", "o"):
            table |= linear(f"{block}.attn.{name}", dim, dim)
        table |= norm(f"{block}.norm1", dim) | linear(f"{block}.ffn.0", dim, 4 * dim)
        table |= linear(f"{block}.ffn.2", 4 * dim, dim) | norm(f"{block}.norm2", dim)
    table |= norm("textual.norm", dim) | linear("textual.head.0", dim, middle, bias=False)
    return table | linear("textual.head.2", middle, shape.embed, bias=False) | {"log_scale": ()}


def clip(shape: ClipShape) -> Layout:
    """`models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth`."""
    dim = shape.dim
    table: Layout = {
        "visual.cls_embedding": (1, 1, dim),
        "visual.pos_embedding": (1, shape.tokens, dim),
        "visual.head": (dim, shape.embed),
        "visual.patch_embedding.weight": (dim, 3, shape.patch, shape.patch),
    }
    table |= norm("visual.pre_norm", dim) | norm("visual.post_norm", dim)
    for index in range(shape.layers):
        block = f"visual.transformer.{index}"
        table |= norm(f"{block}.norm1", dim) | linear(f"{block}.attn.to_qkv", dim, 3 * dim)
        table |= linear(f"{block}.attn.proj", dim, dim) | norm(f"{block}.norm2", dim)
        table |= linear(f"{block}.mlp.0", dim, 4 * dim) | linear(f"{block}.mlp.2", 4 * dim, dim)
    return table | (_clip_text(shape) if shape.text_layers else {})


LORA_TARGETS = (
    *(f"{part}.{name}" for part in ("self_attn", "cross_attn") for name in ("q", "k", "v", "o")),
    "ffn.0",
    "ffn.2",
)


def lora(base: TransformerShape, rank: int) -> Layout:
    """LongLive's `lora.pt`: peft's names, every Linear of every block."""
    table: Layout = {}
    for index in range(base.layers):
        for target in LORA_TARGETS:
            inputs = base.ffn if target == "ffn.2" else base.dim
            outputs = base.ffn if target == "ffn.0" else base.dim
            key = f"base_model.model.blocks.{index}.{target}"
            table[f"{key}.lora_A.weight"] = (rank, inputs)
            table[f"{key}.lora_B.weight"] = (outputs, rank)
    return table
