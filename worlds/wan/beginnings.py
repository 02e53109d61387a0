"""What a walk through an open checkpoint begins from, ready for its network: words, a picture, or a painted one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .. import catalogue, weights
from ..core import Action
from ..model_card import ModelCard, models_folder
from ..rollout import Rollout
from . import families
from .clip import ClipEncoder
from .embeddings import EmbeddingStore
from .offload import Offload
from .recognise import Recognised
from .streaming import from_pictures
from .text import TextEncoder

HEADS = 16  # of CLIP, at every size


def reader(card: ModelCard, data: Path, device: torch.device) -> Callable[[str], Tensor]:
    """Words to rows: from the store of embeddings, or by the text encoder, which then makes room again."""
    part = card.part(families.TEXT)
    assert part is not None
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    tokenizer = catalogue.entry_path(card, data, families.TOKENIZER) / "tokenizer.json"
    encoder = TextEncoder(catalogue.entry_path(card, data, families.TEXT), device, dtype, tokenizer=tokenizer)
    sha256 = hashlib.sha256("".join(file.sha256 for file in part.files).encode()).hexdigest()
    store = EmbeddingStore(models_folder(data) / "embeddings", sha256, encoder, after_use=Offload.FREE)
    return store.rows


def looker(
    card: ModelCard, data: Path, opened: dict[str, Recognised], device: torch.device
) -> Callable[[NDArray[np.uint8]], Tensor]:
    """A picture `[H, W, 3]` to CLIP's tokens; CLIP then leaves the GPU again."""
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    encoder = ClipEncoder(catalogue.entry_path(card, data, families.CLIP), device, dtype, heads=HEADS)

    def look(rgb: NDArray[np.uint8]) -> Tensor:
        tokens = encoder.encode(from_pictures(rgb)[:, :, 0])
        encoder.offload(Offload.CPU)
        return tokens

    return look


class Painter:
    """Draws first pictures with the embedded world, which is loaded at the first one and stays: it is small."""

    def __init__(self, data: Path, width_px: int, height_px: int) -> None:
        self._data, self._size = data, (width_px, height_px)
        self._rollout: Rollout | None = None

    def __call__(self, seed: int, prompt: str) -> NDArray[np.uint8]:
        """What the embedded world draws first for these words, at the size of the open one."""
        import cv2

        if self._rollout is None:
            self._rollout = weights.load_world(None, self._data, engine="eager").rollout()
        self._rollout.reset(seed, prompt)
        frame = next(iter(self._rollout.step(Action())))
        large = cv2.resize(frame.rgb, self._size, interpolation=cv2.INTER_CUBIC)
        return np.asarray(large, np.uint8)
