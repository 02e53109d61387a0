"""The statistics behind `familiarity.py`, fitted on the training walks, and how often they are wrong.

False alarms are counted on walks through unseen worlds, misses on pictures that are made for it (`strangers.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ..autoencoder import Autoencoder
from ..familiarity import Familiarity, described, fitted, save_familiarity
from ..judge import Judge, load_judge
from ..weights import SHIPPED, WorldCard, load_modules
from .data import Walks
from .strangers import HEIGHT_PX, KINDS, WIDTH_PX, negative, upside_down
from .tokenizer import to_tensor

BATCH = 64


def frames_of(walks: Walks, count: int, rng: np.random.Generator) -> tuple[NDArray[np.uint8], Tensor]:
    """(`count` frames at the decoder's size `[N, 160, 256, 3]`, their themes `[N]`): as a person would upload them."""
    size = len(walks.rgb[0])
    frames: list[NDArray[np.uint8]] = []
    themes: list[int] = []
    for _ in range(count):
        e = int(rng.integers(len(walks.meta)))
        frames_of_walk = walks.rgb[e // size][e % size]
        small = Image.fromarray(np.asarray(frames_of_walk[int(rng.integers(len(frames_of_walk)))]))
        frames.append(np.asarray(small.resize((WIDTH_PX, HEIGHT_PX), Image.Resampling.LANCZOS)))
        themes.append(cast("list[dict[str, int]]", walks.meta[e]["attributes"])[0]["theme"])
    return np.stack(frames), torch.tensor(themes)


def describe_all(judge: Judge, autoencoder: Autoencoder, pictures: NDArray[np.uint8]) -> Tensor:
    """Descriptors `[N, D]` of pictures `[N, H, W, 3]`, a few at a time."""
    parts = [pictures[i : i + BATCH] for i in range(0, len(pictures), BATCH)]
    return torch.cat([described(judge, autoencoder, to_tensor(part)) for part in parts])


def error_rates(made: Familiarity, judge: Judge, autoencoder: Autoencoder, test: Path, count: int) -> dict[str, float]:
    """Share of pictures that are called far: of unseen renders, and of `count` strangers of each kind."""
    rng = np.random.default_rng(11)

    def far(pictures: NDArray[np.uint8]) -> float:
        return float((made.distances(describe_all(judge, autoencoder, pictures)) > 1).float().mean())

    renders, _ = frames_of(Walks.open(test), 5 * count, rng)
    rates = {"renders of unseen worlds": far(renders)}
    rates |= {name: far(np.stack([make(rng) for _ in range(count)])) for name, make in KINDS.items()}
    turned: dict[str, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
        "renders upside down": upside_down, "renders as negatives": negative,
    }  # fmt: skip
    return rates | {name: far(np.stack([turn(x) for x in renders[:count]])) for name, turn in turned.items()}


def make_familiarity(
    data: Path, test: Path, world: str, out: Path | None, count: int = 6000, strangers: int = 200
) -> tuple[Path, dict[str, float]]:
    """Fit on `count` frames of the training walks, write the file beside the world's weights; (file, error rates)."""
    folder = out or SHIPPED
    card = WorldCard.read(folder / f"{world}.json")
    judge = load_judge(folder if (folder / "judge.safetensors").is_file() else SHIPPED)
    _, autoencoder = load_modules(card)
    pictures, themes = frames_of(Walks.open(data), count, np.random.default_rng(7))
    made = fitted(describe_all(judge, autoencoder, pictures), themes)
    rates = error_rates(made, judge, autoencoder, test, strangers)
    return save_familiarity(folder, card.name, made, judge, autoencoder), rates
