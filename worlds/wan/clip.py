"""CLIP ViT-H/14: the first picture as 257 rows of 1,280 numbers, for models that start from an image.

The network is `transformers.CLIPVisionModel`; what the video models read are its penultimate hidden states. Weights:
Wan's own file, which is open_clip's model with fused query, key and value, or a folder in transformers' layout. Its
text tower, its projection and its temperature have no use here and are passed over by name. Source: Wan-Video/Wan2.1,
wan/modules/clip.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import WeightsError
from .offload import Offload, OffloadedModule, indexed
from .state_file import converted, find_file, first_reason, read_state
from .transformers_library import transformers_class

# Where published folders keep the weights, relative to the folder.
WEIGHTS_FILES = (
    "models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth",
    "models_clip_open-clip-xlm-roberta-large-vit-huge-14.safetensors",
    "image_encoder/model.safetensors",
    "model.safetensors",
)
HEADS = 16  # ViT-H's; the number of heads cannot be read off the weights
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)

# Wan's names -> transformers' names, without `visual.`. N is the number of a layer.
_PUBLISHED = {
    "cls_embedding": "embeddings.class_embedding",
    "patch_embedding.weight": "embeddings.patch_embedding.weight",
    "pos_embedding": "embeddings.position_embedding.weight",
    "pre_norm.weight": "pre_layrnorm.weight",
    "pre_norm.bias": "pre_layrnorm.bias",
    "post_norm.weight": "post_layernorm.weight",
    "post_norm.bias": "post_layernorm.bias",
    **{
        f"transformer.N.{ours}.{kind}": f"encoder.layers.N.{theirs}.{kind}"
        for ours, theirs in (
            ("norm1", "layer_norm1"),
            ("norm2", "layer_norm2"),
            ("attn.proj", "self_attn.out_proj"),
            ("mlp.0", "mlp.fc1"),
            ("mlp.2", "mlp.fc2"),
        )
        for kind in ("weight", "bias")
    },
}
_FUSED = ("q_proj", "k_proj", "v_proj")  # the order of the rows in `attn.to_qkv`
_UNUSED = ("textual.", "log_scale", "visual.head")  # of Wan's file
_UNUSED_TRANSFORMERS = ("text_model.", "text_projection", "visual_projection", "logit_scale")
_NUMBER = re.compile(r"(?<=\.)\d+(?=\.)")


@dataclass(frozen=True, slots=True)
class ClipShape:
    """The size of a vision tower; the defaults are ViT-H/14's."""

    width: int = 1280
    ffn: int = 5120
    layers: int = 32
    heads: int = HEADS
    patch_px: int = 14
    side_px: int = 224

    @property
    def tokens(self) -> int:
        return (self.side_px // self.patch_px) ** 2 + 1

    @classmethod
    def of(cls, state: Mapping[str, Tensor], heads: int = HEADS) -> ClipShape:
        """Read off transformers' names. Raises KeyError on a name that is missing, ValueError on a wrong shape."""
        width, _, patch_px, _ = state["embeddings.patch_embedding.weight"].shape
        tokens = state["embeddings.position_embedding.weight"].shape[0]
        layers = sum(name.endswith("self_attn.out_proj.weight") for name in state)
        side_px = round((tokens - 1) ** 0.5) * patch_px
        return cls(width, state["encoder.layers.0.mlp.fc1.weight"].shape[0], layers, heads, patch_px, side_px)

    def build(self) -> nn.Module:
        """The network without memory for its weights, on the meta device."""
        config = transformers_class("CLIPVisionConfig")(
            hidden_size=self.width, intermediate_size=self.ffn, num_hidden_layers=self.layers,
            num_attention_heads=self.heads, image_size=self.side_px, patch_size=self.patch_px, hidden_act="gelu",
            layer_norm_eps=1e-5,
        )  # fmt: skip
        with torch.device("meta"):
            return transformers_class("CLIPVisionModel")(config)


def to_transformers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Wan's or transformers' names -> transformers' names, query, key and value apart. KeyError on a stranger."""
    if "visual.patch_embedding.weight" not in state:
        kept = {name: value for name, value in state.items() if not name.startswith(_UNUSED_TRANSFORMERS)}
        kept = {name.removeprefix("vision_model."): value for name, value in kept.items()}
        kept.pop("embeddings.position_ids", None)  # 0, 1, 2, …: older files store them
        return kept
    mapped: dict[str, Tensor] = {}
    for name, value in state.items():
        if name.startswith(_UNUSED):
            continue
        short = name.removeprefix("visual.")
        number = _NUMBER.search(short)
        if number is not None and ".attn.to_qkv." in short:
            kind = short.rpartition(".")[2]
            for part, rows in zip(_FUSED, value.chunk(3), strict=True):
                mapped[f"encoder.layers.{number[0]}.self_attn.{part}.{kind}"] = rows
            continue
        pattern = short if number is None else short[: number.start()] + "N" + short[number.end() :]
        target = _PUBLISHED[pattern].replace(".N.", f".{number[0]}." if number else "")
        mapped[target] = value.reshape(-1, value.shape[-1]) if short == "pos_embedding" else value
        if short == "cls_embedding":
            mapped[target] = value.reshape(-1)
    return mapped


def load_vision_network(path: Path, dtype: torch.dtype, heads: int = HEADS) -> nn.Module:
    """`transformers.CLIPVisionModel` from either layout, on the CPU. Raises WeightsError that names the file."""
    try:
        state = to_transformers(read_state(path, dtype=dtype))
        shape = ClipShape.of(state, heads)
        model = shape.build()
        # transformers 4 nests the tower, 5 does not
        prefix = "vision_model." if any(name.startswith("vision_model.") for name in model.state_dict()) else ""
        model.load_state_dict({prefix + name: converted(value, dtype) for name, value in state.items()}, assign=True)
    except WeightsError:
        raise
    except KeyError as error:
        raise WeightsError(f"{path} is not a CLIP vision tower: unexpected or missing name {error}") from error
    except (RuntimeError, ValueError) as error:
        raise WeightsError(f"{path} does not fit a CLIP vision tower ({first_reason(error)})") from error
    embeddings: Any = getattr(model, "vision_model", model).embeddings
    embeddings.position_ids = torch.arange(shape.tokens)[None]  # not in any file, so still on the meta device
    return model.eval().requires_grad_(False)


def preprocess(images: Tensor, side_px: int = 224) -> Tensor:
    """[B, 3, H, W] in [-1, 1] -> [B, 3, side, side], as CLIP was trained to see it.

    Bicubic without antialiasing and without keeping the aspect ratio: so the published models saw pictures.
    """
    if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
        raise ValueError(f"a picture is [B, 3, H, W] in [-1, 1], got {tuple(images.shape)} of type {images.dtype}")
    resized = F.interpolate(images.float(), (side_px, side_px), mode="bicubic", align_corners=False)
    mean, std = (images.new_tensor(v, dtype=torch.float32).view(3, 1, 1) for v in (MEAN, STD))
    return (resized * 0.5 + 0.5 - mean) / std


class ClipEncoder:
    """Pictures -> the rows that an image-started model attends to. Loaded at the first picture. Not thread-safe."""

    def __init__(
        self,
        source: Path | nn.Module,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.bfloat16,
        *,
        heads: int = HEADS,
    ) -> None:
        """`source`: a folder or file of weights, or a `CLIPVisionModel`. Raises WeightsError where the file is missing.

        `heads` is for files only; it is 16 in everything that is published for Wan.
        """
        self.dtype = dtype
        if isinstance(source, nn.Module):
            self._network = OffloadedModule(source.to(dtype), indexed(device))
        else:
            weights = find_file(source, WEIGHTS_FILES, "CLIP vision tower")
            self._network = OffloadedModule(partial(load_vision_network, weights, dtype, heads), indexed(device))

    @property
    def loaded(self) -> bool:
        """Whether the network takes memory on the device or the host."""
        return self._network.loaded

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] or [3, H, W] in [-1, 1] -> [B, 257, 1280]. Raises ValueError on other shapes or integers."""
        network: Any = self._network()
        batch = images[None] if images.ndim == 3 else images
        pixels = preprocess(batch.to(self._network.device), network.config.image_size)
        return network(pixel_values=pixels.to(self.dtype), output_hidden_states=True).hidden_states[-2]  # [B, S, D]

    def offload(self, policy: Offload) -> None:
        """Give the GPU's memory back; the next picture loads the network again. ValueError: see OffloadedModule."""
        self._network.offload(policy)
