"""What a weights file is, from its keys and shapes; never from its name.

The numbers of a layout are read off a few telling tensors, the whole table is made from them, and every key and shape
is compared: a file that lacks one tensor, or has one more, is refused here and not half way through loading.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from ..errors import CheckpointError
from . import families as names
from .checkpoint_files import Checkpoint
from .families import FAMILIES
from .layout import (
    DIFFUSERS_MARK,
    ActionShape,
    Layout,
    Shape,
    TransformerShape,
    from_diffusers,
    parameters,
    stripped,
    transformer,
)
from .layout_parts import CLIP_HEADS, ClipShape, TaehvShape, TextShape, VaeShape, clip, taehv, text_encoder, vae

PartShape = TransformerShape | VaeShape | TaehvShape | TextShape | ClipShape
SUPPORTED = "Wan 2.1 transformers, VACE, Matrix-Game 2.0, the Wan VAE, TAEHV, UMT5, CLIP ViT-H and LoRA"


class UnknownFamily(CheckpointError):
    """Weights that are whole, but of nothing that is known here."""


@dataclass(frozen=True, slots=True)
class LoraShape:
    """What a LoRA changes. The dialects of its keys are lora.py's business."""

    rank: int
    width: int  # of the base model
    layers: int  # one more than the highest block it changes


@dataclass(frozen=True, slots=True)
class Recognised:
    """What a file is."""

    role: str  # a role of families.py
    shape: PartShape | LoraShape
    checkpoint: Checkpoint
    published: Mapping[str, str] = field(repr=False)  # published key -> the name in the file
    diffusers: bool = False  # in diffusers' naming

    @property
    def layout(self) -> Layout:
        """Published keys with the shapes in the file."""
        return {key: self.checkpoint.signature[name][0] for key, name in self.published.items()}

    @property
    def parameters(self) -> int:
        return parameters(self.layout)

    @property
    def families(self) -> tuple[str, ...]:
        """Names that the keys, shapes and kind of file allow; the sizes of tiny test models count as the full ones."""
        if not isinstance(self.shape, TransformerShape):
            return ()
        kind = _kind(self.shape)
        return tuple(
            family.name
            for family in FAMILIES.values()
            if _kind(family.shape) == kind and bool(family.root) == self.checkpoint.root.startswith("generator")
        )

    def describe(self) -> str:
        """One line: what it is and its numbers."""
        shape = self.shape
        if isinstance(shape, LoraShape):
            return f"LoRA of rank {shape.rank} for width {shape.width}"
        size = self.parameters
        text = f"{size / 1e9:.2f} B" if size >= 1e9 else f"{size / 1e6:.1f} M"
        if not isinstance(shape, TransformerShape):
            return f"{self.role}, {text} parameters"
        what = "Matrix-Game 2.0" if shape.action else "VACE" if shape.vace_layers else "image-to-video"
        what = what if shape.image or shape.vace_layers else "text-to-video"
        return f"{what} transformer, width {shape.dim}, {shape.layers} blocks, {text} parameters"


def _kind(shape: TransformerShape) -> tuple[object, ...]:
    """What tells families apart. Only 14B is told by width: everything narrower counts as the small model.

    Matrix-Game's undistilled models have the action module in every block and take dozens of steps: no family here.
    """
    action = None
    if shape.action:
        action = shape.action.keyboard, bool(shape.action.mouse), shape.action.blocks < shape.layers
    return (
        shape.dim >= 4096 or shape.image_attention,
        shape.in_channels,
        bool(shape.text),
        bool(shape.vace_layers),
        action,
    )


def recognise(checkpoint: Checkpoint) -> Recognised:
    """Raises CheckpointError: three of the keys and what is supported, or the first tensor that is wrong."""
    signature = checkpoint.signature
    if not signature:
        raise CheckpointError(f"{checkpoint.path} holds no tensors; give a file of weights")
    odd = next((key for key, (_, dtype) in signature.items() if not dtype.is_floating_point), None)
    if odd is not None:
        kind = str(signature[odd][1]).removeprefix("torch.")
        raise CheckpointError(f"{checkpoint.path} stores {odd} as {kind}; give the weights in bf16, float16 or float32")
    if any(_LORA.search(key) for key in signature):
        return _lora(checkpoint)
    try:
        published = stripped(signature)
    except ValueError as error:
        raise CheckpointError(
            f"{checkpoint.path} is ambiguous: {error}; give the file as its authors published it"
        ) from None
    diffusers = DIFFUSERS_MARK in published
    if diffusers:
        published = _renamed(checkpoint, published)
    shapes = {key: signature[name][0] for key, name in published.items()}
    for mark, role, read in _READERS:
        if mark in shapes:
            return Recognised(role, _matched(checkpoint, shapes, role, read), checkpoint, published, diffusers)
    examples = ", ".join(sorted(signature)[:: max(1, len(signature) // 3)][:3])
    hint = "; diffusers' own VAE and encoders are not read" if _FOREIGN & {key.split(".")[0] for key in shapes} else ""
    raise UnknownFamily(
        f"{checkpoint.path} is of no known family (keys like {examples}); supported are {SUPPORTED}{hint}"
    )


_FOREIGN = {"quant_conv", "shared", "vision_model", "text_model"}
_LORA = re.compile(r"\.(?:lora_A|lora_B|lora_down|lora_up)(?:\.default)?\.weight$|\.(?:diff|diff_b)$")


def _renamed(checkpoint: Checkpoint, published: Mapping[str, str]) -> dict[str, str]:
    result: dict[str, str] = {}
    for key, name in published.items():
        original = from_diffusers(key)
        if original is None:
            raise CheckpointError(
                f"{checkpoint.path} is a transformer in diffusers' naming with the unknown key {key!r}; supported are "
                f"{SUPPORTED}"
            )
        result[original] = name
    return result


def _matched(
    checkpoint: Checkpoint, shapes: Layout, role: str, read: Callable[[Layout], tuple[PartShape, Layout]]
) -> PartShape:
    """The shape whose whole table is in the file. Raises CheckpointError with the first tensor that is not."""
    path = checkpoint.path
    try:
        shape, table = read(shapes)
    except (KeyError, IndexError, ValueError) as error:
        missing = f"no {error.args[0]}" if isinstance(error, KeyError) else f"a tensor of another size, {error}"
        raise CheckpointError(
            f"{path} looks like a {role} but has {missing}; it is cut or of an unknown kind"
        ) from None
    for what, odd in (("lacks", table.keys() - shapes.keys()), ("also has", shapes.keys() - table.keys())):
        if odd:
            more = f" and {len(odd) - 1} more" if len(odd) > 1 else ""
            raise CheckpointError(
                f"{path} looks like a {role} but {what} {min(odd)}{more}; it is cut or of another kind: supported are "
                f"{SUPPORTED}"
            )
    for key, expected in table.items():
        if shapes[key] != expected:
            found, wanted = list(shapes[key]), list(expected)
            raise CheckpointError(f"{path} looks like a {role} but {key} is {found} instead of {wanted}; it is damaged")
    return shape


def _count(shapes: Layout, pattern: str) -> int:
    """One more than the highest number that `pattern` finds at the start of a key."""
    matches = (re.match(pattern, key) for key in shapes)
    return max((int(match[1]) + 1 for match in matches if match), default=0)


def _sizes(shapes: Layout, key: str, dimensions: int) -> Shape:
    size = shapes[key]
    if len(size) != dimensions:
        raise ValueError(f"{key} {list(size)}")
    return size


def _read_transformer(shapes: Layout) -> tuple[PartShape, Layout]:
    dim, channels, *patch = _sizes(shapes, "patch_embedding.weight", 5)
    outputs, _ = _sizes(shapes, "head.head.weight", 2)
    vace = _count(shapes, r"vace_blocks\.(\d+)\.")
    shape = TransformerShape(
        dim=dim,
        ffn=_sizes(shapes, "blocks.0.ffn.0.weight", 2)[0],
        layers=_count(shapes, r"blocks\.(\d+)\."),
        in_channels=channels,
        out_channels=outputs // max(1, patch[0] * patch[1] * patch[2]),
        text=shapes.get("text_embedding.0.weight", (0, 0))[-1],
        image=shapes.get("img_emb.proj.0.weight", (0,))[0],
        image_attention="blocks.0.cross_attn.k_img.weight" in shapes,
        vace_layers=vace,
        vace_channels=_sizes(shapes, "vace_patch_embedding.weight", 5)[1] if vace else 0,
        action=_read_action(shapes, dim),
        frequencies=_sizes(shapes, "time_embedding.0.weight", 2)[1],
        patch=tuple(patch),
    )
    _check_depth(shape.layers + vace, shapes)
    return shape, transformer(shape)


def _check_depth(layers: int, shapes: Layout) -> None:
    """A hostile key such as blocks.999999999.x must not make a table of a billion entries."""
    if layers > len(shapes):
        raise ValueError(f"{layers} blocks in {len(shapes)} tensors")


def _read_action(shapes: Layout, dim: int) -> ActionShape | None:
    blocks = _count({k: v for k, v in shapes.items() if ".action_model." in k}, r"blocks\.(\d+)\.")
    if not blocks:
        return None
    start = "blocks.0.action_model"
    hidden, keyboard = _sizes(shapes, f"{start}.keyboard_embed.0.weight", 2)
    double, given = _sizes(shapes, f"{start}.keyboard_attn_kv.weight", 2)
    rows = given // max(hidden, 1)
    mouse = _sizes(shapes, f"{start}.mouse_mlp.0.weight", 2)[1] - dim if f"{start}.mouse_mlp.0.weight" in shapes else 0
    head = _sizes(shapes, f"{start}.key_attn_q_norm.weight", 1)[0]
    return ActionShape(keyboard, mouse // max(rows, 1), blocks, hidden, double // 2, head, rows)


def _read_vae(shapes: Layout) -> tuple[PartShape, Layout]:
    shape = VaeShape(_sizes(shapes, "encoder.conv1.weight", 5)[0], _sizes(shapes, "conv2.weight", 5)[0])
    return shape, vae(shape)


def _read_taehv(shapes: Layout) -> tuple[PartShape, Layout]:
    first, latent, *_ = _sizes(shapes, "decoder.1.weight", 4)
    widths = (first, *(_sizes(shapes, f"decoder.{index}.weight", 4)[0] for index in (8, 14, 20)))
    grow = tuple(
        _sizes(shapes, f"decoder.{i}.conv.weight", 4)[0] // w for i, w in zip((7, 13, 19), widths, strict=False)
    )
    shape = TaehvShape(latent, widths, _sizes(shapes, "encoder.0.weight", 4)[0], (grow[0], grow[1], grow[2]))  # type: ignore[arg-type]
    return shape, taehv(shape)


def _read_text(shapes: Layout) -> tuple[PartShape, Layout]:
    vocabulary, dim = _sizes(shapes, "token_embedding.weight", 2)
    buckets, heads = _sizes(shapes, "blocks.0.pos_embedding.embedding.weight", 2)
    layers = _count(shapes, r"blocks\.(\d+)\.")
    _check_depth(layers, shapes)
    shape = TextShape(vocabulary, dim, _sizes(shapes, "blocks.0.ffn.fc1.weight", 2)[0], heads, layers, buckets)
    return shape, text_encoder(shape)


def _read_clip(shapes: Layout) -> tuple[PartShape, Layout]:
    dim, _, patch, _ = _sizes(shapes, "visual.patch_embedding.weight", 4)
    if dim % CLIP_HEADS:
        raise ValueError(f"the width {dim}")
    layers = _count(shapes, r"visual\.transformer\.(\d+)\.")
    texts = _count(shapes, r"textual\.blocks\.(\d+)\.")
    _check_depth(layers + texts, shapes)
    tokens, embed = _sizes(shapes, "visual.pos_embedding", 3)[1], _sizes(shapes, "visual.head", 2)[1]
    shape = ClipShape(dim, layers, patch, tokens, embed, text_layers=0)
    if texts:
        vocabulary, width = _sizes(shapes, "textual.token_embedding.weight", 2)
        positions = _sizes(shapes, "textual.pos_embedding.weight", 2)[0]
        shape = replace(shape, text_layers=texts, text_dim=width, vocabulary=vocabulary, text_tokens=positions)
    return shape, clip(shape)


# A key that only this part has, and how its numbers are read.
_READERS: tuple[tuple[str, str, Callable[[Layout], tuple[PartShape, Layout]]], ...] = (
    ("head.modulation", names.TRANSFORMER, _read_transformer),
    ("encoder.downsamples.0.residual.0.gamma", names.VAE, _read_vae),
    ("decoder.22.weight", names.TAEHV, _read_taehv),
    ("blocks.0.ffn.gate.0.weight", names.TEXT, _read_text),
    ("visual.patch_embedding.weight", names.CLIP, _read_clip),
)


def _lora(checkpoint: Checkpoint) -> Recognised:
    """Peft's, diffusers' and ComfyUI's names alike: the rank and the base's width are in the shapes of any of them."""
    down = {
        k: s for k, (s, _) in checkpoint.signature.items() if re.search(r"\.(?:lora_A|lora_down)", k) and len(s) == 2
    }
    at_query = [s for k, s in down.items() if re.search(r"(?:self_attn|attn1)[._](?:q|to_q)\.", k)]
    if not down:
        raise CheckpointError(f"{checkpoint.path} is a LoRA without any `down` matrix; it is cut: download it again")
    rank, width = at_query[0] if at_query else min(down.values(), key=lambda s: s[1])
    layers = max((int(match[1]) + 1 for key in down if (match := re.search(r"blocks[._](\d+)[._]", key))), default=0)
    names_as_they_are = dict(zip(checkpoint.signature, checkpoint.signature, strict=True))
    return Recognised(names.LORA, LoraShape(rank, width, layers), checkpoint, names_as_they_are)


def check_lora(lora: Recognised, base: Recognised) -> None:
    """Raises CheckpointError when a LoRA was made for another base model."""
    assert isinstance(lora.shape, LoraShape)
    assert isinstance(base.shape, TransformerShape)
    if (lora.shape.width, lora.shape.layers > base.shape.layers) != (base.shape.dim, False):
        raise CheckpointError(
            f"{lora.checkpoint.path} is a LoRA for width {lora.shape.width} and {lora.shape.layers} blocks, but "
            f"{base.checkpoint.path} has {base.shape.dim} and {base.shape.layers}; give the LoRA of this base model"
        )
