"""The published state dicts of the Wan family's transformers, as tables of (key, shape).

Written from the published descriptions (Wan-Video/Wan2.1, ali-vilab/VACE, guandeh17/Self-Forcing, SkyworkAI/Matrix-Game
2.0) and not from our own modules, so that comparing the two proves something. A table follows from a few numbers; the
same numbers are read back from a file's shapes by `recognise.py`. The other parts of a world are in `layout_parts.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

Shape = tuple[int, ...]
Layout = dict[str, Shape]

HEAD = 128  # channels of one attention head in every Wan 2.1 model; the shapes do not tell


@dataclass(frozen=True, slots=True)
class ActionShape:
    """Matrix-Game 2.0's action module, in the first `blocks` blocks."""

    keyboard: int  # keys: 4 universal, 2 GTA drive, 7 temple run
    mouse: int = 2  # 0: no mouse branch
    blocks: int = 15
    hidden: int = 128  # of one row's keyboard embedding
    inner: int = 1024
    head: int = 64
    rows: int = 12  # action rows that one latent frame sees: 3 latents of 4 video frames


@dataclass(frozen=True, slots=True)
class TransformerShape:
    """The numbers that a transformer's table follows from."""

    dim: int
    ffn: int
    layers: int
    in_channels: int = 16
    out_channels: int = 16
    text: int = 4096  # width of the text encoder's tokens; 0: no text branch
    image: int = 0  # width of CLIP's tokens; 0: no image branch
    image_attention: bool = False  # the image has keys and values of its own beside the text's
    vace_layers: int = 0
    vace_channels: int = 0
    action: ActionShape | None = None
    frequencies: int = 256  # of the timestep's sinusoid
    patch: Shape = (1, 2, 2)

    @property
    def heads(self) -> int:
        return self.dim // HEAD


T2V_1_3B = TransformerShape(dim=1536, ffn=8960, layers=30)
T2V_14B = TransformerShape(dim=5120, ffn=13824, layers=40)
I2V_14B = TransformerShape(dim=5120, ffn=13824, layers=40, in_channels=36, image=1280, image_attention=True)
VACE_1_3B = TransformerShape(dim=1536, ffn=8960, layers=30, vace_layers=15, vace_channels=96)


def matrix_game(keyboard: int, mouse: int = 2) -> TransformerShape:
    """Matrix-Game 2.0: Wan 1.3B from an image, without text; CLIP's tokens are the cross-attention's context."""
    action = ActionShape(keyboard, mouse)
    return TransformerShape(dim=1536, ffn=8960, layers=30, in_channels=36, text=0, image=1280, action=action)


def linear(key: str, inputs: int, outputs: int, bias: bool = True) -> Layout:
    """One Linear: the weight is [outputs, inputs]."""
    weight: Layout = {f"{key}.weight": (outputs, inputs)}
    return weight | ({f"{key}.bias": (outputs,)} if bias else {})


def norm(key: str, width: int, bias: bool = True) -> Layout:
    """A LayerNorm's weight and bias, or an RMSNorm's weight."""
    weight: Layout = {f"{key}.weight": (width,)}
    return weight | ({f"{key}.bias": (width,)} if bias else {})


def _attention(key: str, dim: int, image: bool) -> Layout:
    table: Layout = {}
    for name in ("q", "k", "v", "o"):
        table |= linear(f"{key}.{name}", dim, dim)
    table |= norm(f"{key}.norm_q", dim, bias=False) | norm(f"{key}.norm_k", dim, bias=False)
    if image:
        table |= linear(f"{key}.k_img", dim, dim) | linear(f"{key}.v_img", dim, dim)
        table |= norm(f"{key}.norm_k_img", dim, bias=False)
    return table


def _block(key: str, shape: TransformerShape) -> Layout:
    """norm1 and norm2 have no parameters."""
    dim = shape.dim
    return (
        {f"{key}.modulation": (1, 6, dim)}
        | _attention(f"{key}.self_attn", dim, image=False)
        | norm(f"{key}.norm3", dim)
        | _attention(f"{key}.cross_attn", dim, shape.image_attention)
        | linear(f"{key}.ffn.0", dim, shape.ffn)
        | linear(f"{key}.ffn.2", shape.ffn, dim)
    )


def _action(key: str, action: ActionShape, dim: int) -> Layout:
    inner, head = action.inner, action.head
    table = linear(f"{key}.keyboard_embed.0", action.keyboard, action.hidden)
    table |= linear(f"{key}.keyboard_embed.2", action.hidden, action.hidden)
    if action.mouse:
        table |= linear(f"{key}.mouse_mlp.0", dim + action.rows * action.mouse, inner)
        table |= linear(f"{key}.mouse_mlp.2", inner, inner)
        table |= norm(f"{key}.mouse_mlp.3", inner)
        table |= linear(f"{key}.t_qkv", inner, 3 * inner, bias=False)
        table |= norm(f"{key}.img_attn_q_norm", head, bias=False) | norm(f"{key}.img_attn_k_norm", head, bias=False)
        table |= linear(f"{key}.proj_mouse", inner, dim, bias=False)
    table |= norm(f"{key}.key_attn_q_norm", head, bias=False) | norm(f"{key}.key_attn_k_norm", head, bias=False)
    table |= linear(f"{key}.mouse_attn_q", dim, inner, bias=False)
    table |= linear(f"{key}.keyboard_attn_kv", action.hidden * action.rows, 2 * inner, bias=False)
    table |= linear(f"{key}.proj_keyboard", inner, dim, bias=False)
    return table


def _embeddings(shape: TransformerShape) -> Layout:
    dim = shape.dim
    table: Layout = {
        "patch_embedding.weight": (dim, shape.in_channels, *shape.patch),
        "patch_embedding.bias": (dim,),
    }
    if shape.text:
        table |= linear("text_embedding.0", shape.text, dim) | linear("text_embedding.2", dim, dim)
    table |= linear("time_embedding.0", shape.frequencies, dim) | linear("time_embedding.2", dim, dim)
    table |= linear("time_projection.1", dim, 6 * dim)
    if shape.image:
        table |= norm("img_emb.proj.0", shape.image) | linear("img_emb.proj.1", shape.image, shape.image)
        table |= linear("img_emb.proj.3", shape.image, dim) | norm("img_emb.proj.4", dim)
    return table


def transformer(shape: TransformerShape) -> Layout:
    """Every key of one transformer with its shape, without prefixes, in the published order of the parts."""
    dim = shape.dim
    table = _embeddings(shape)
    for index in range(shape.layers):
        table |= _block(f"blocks.{index}", shape)
        if shape.action and index < shape.action.blocks:
            table |= _action(f"blocks.{index}.action_model", shape.action, dim)
    pixels = shape.patch[0] * shape.patch[1] * shape.patch[2]
    table |= linear("head.head", dim, shape.out_channels * pixels) | {"head.modulation": (1, 2, dim)}
    for index in range(shape.vace_layers):
        table |= _block(f"vace_blocks.{index}", shape)
        if index == 0:
            table |= linear("vace_blocks.0.before_proj", dim, dim)
        table |= linear(f"vace_blocks.{index}.after_proj", dim, dim)
    if shape.vace_layers:
        table["vace_patch_embedding.weight"] = (dim, shape.vace_channels, *shape.patch)
        table["vace_patch_embedding.bias"] = (dim,)
    return table


def parameters(table: Mapping[str, Shape]) -> int:
    """How many numbers a table holds."""
    total = 0
    for shape in table.values():
        count = 1
        for size in shape:
            count *= size
        total += count
    return total


# What stands before the published names in one file or another. Wrappers of distributed training and of torch.compile
# also stand in the middle of a name, so they are taken out wherever they are.
WRAPPERS = re.compile(r"(?:^|(?<=\.))(?:_fsdp_wrapped_module|_checkpoint_wrapped_module|_orig_mod)\.")
PREFIXES = ("module.", "model.", "generator_ema.", "generator.", "diffusion_model.", "transformer.")


def stripped(keys: Iterable[str]) -> dict[str, str]:
    """Published name -> the name in the file. A prefix goes only when every key has it.

    Raises ValueError when two keys become one, because one of the two tensors would be lost.
    """
    raw = list(keys)
    clean = [WRAPPERS.sub("", key) for key in raw]
    while prefix := next((p for p in PREFIXES if clean and all(key.startswith(p) for key in clean)), None):
        clean = [key.removeprefix(prefix) for key in clean]
    names = dict(zip(clean, raw, strict=True))
    if len(names) < len(raw):
        twice = next(key for key in clean if clean.count(key) > 1)
        raise ValueError(f"two tensors are named {twice!r} once prefixes are stripped")
    return names


DIFFUSERS_TOP = {
    "condition_embedder.time_embedder.linear_1": "time_embedding.0",
    "condition_embedder.time_embedder.linear_2": "time_embedding.2",
    "condition_embedder.text_embedder.linear_1": "text_embedding.0",
    "condition_embedder.text_embedder.linear_2": "text_embedding.2",
    "condition_embedder.time_proj": "time_projection.1",
    "condition_embedder.image_embedder.norm1": "img_emb.proj.0",
    "condition_embedder.image_embedder.ff.net.0.proj": "img_emb.proj.1",
    "condition_embedder.image_embedder.ff.net.2": "img_emb.proj.3",
    "condition_embedder.image_embedder.norm2": "img_emb.proj.4",
    "condition_embedder.image_embedder.pos_embed": "img_emb.emb_pos",
    "proj_out": "head.head",
    "scale_shift_table": "head.modulation",
    "patch_embedding": "patch_embedding",
    "vace_patch_embedding": "vace_patch_embedding",
}
DIFFUSERS_BLOCK = {
    "norm2": "norm3",  # the original's norm2 has no weights
    "ffn.net.0.proj": "ffn.0",
    "ffn.net.2": "ffn.2",
    "scale_shift_table": "modulation",
    "proj_in": "before_proj",
    "proj_out": "after_proj",
} | {
    f"{theirs}.{part}": f"{ours}.{name}"
    for theirs, ours in (("attn1", "self_attn"), ("attn2", "cross_attn"))
    for part, name in (
        ("to_q", "q"), ("to_k", "k"), ("to_v", "v"), ("to_out.0", "o"), ("norm_q", "norm_q"), ("norm_k", "norm_k"),
        ("add_k_proj", "k_img"), ("add_v_proj", "v_img"), ("norm_added_k", "norm_k_img"),
    )
}  # fmt: skip
_BLOCK = re.compile(r"((?:vace_)?blocks\.\d+)\.(.+)")
DIFFUSERS_MARK = "condition_embedder.time_proj.weight"  # no original file has it, every diffusers file does


def from_diffusers(key: str) -> str | None:
    """The original name of a key of diffusers' Wan transformer (VACE included); None where there is none."""
    module, _, leaf = key.rpartition(".")
    if leaf not in ("weight", "bias"):
        module, leaf = key, ""
    block = _BLOCK.fullmatch(module)
    if block:
        name = DIFFUSERS_BLOCK.get(block[2])
        found = f"{block[1]}.{name}" if name else None
    else:
        found = DIFFUSERS_TOP.get(module)
    return f"{found}.{leaf}" if found and leaf else found
