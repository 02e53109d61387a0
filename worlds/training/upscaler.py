"""Train the network that doubles pictures: python -m worldstream.worlds.training.upscaler [--minutes 10].

Large pictures are renders of the procedural worlds; small ones are made of them in the ways that pictures become small
(area, bicubic, Lanczos, a soft lens), some through JPEG. Seeds from EVALUATION_SEED on are never trained on.

The shipped weights: 14 minutes with 300 pictures, none of them out of focus, then `--start-from` them 7 minutes with
160 pictures, a third out of focus, on one busy core.
"""

from __future__ import annotations

import argparse
import io
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..media.upscaler import WEIGHTS, Upscaler
from ..procedural.episodes import episode

EVALUATION_SEED = 9_000_000
PATCH, BATCH = 64, 16
Rgb = NDArray[np.uint8]


def render(seed: int, width: int, height: int) -> Rgb:
    """One frame of a world; every other one is drawn twice as large and averaged, which is smoother."""
    times = 2 if seed % 2 else 1
    rgb = episode(seed, 2, width * times, height * times, changes=False).rgb[-1]
    return rgb if times == 1 else np.asarray(cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def halved(rgb: Rgb, random: np.random.Generator) -> Rgb:
    """A small picture of a large one, made in one of the usual ways."""
    height, width = rgb.shape[0] // 2, rgb.shape[1] // 2
    way = random.random()
    if way < 0.55:
        small = np.asarray(cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    elif way < 0.85:
        how = Image.Resampling.BICUBIC if way < 0.7 else Image.Resampling.LANCZOS
        small = np.asarray(Image.fromarray(rgb).resize((width, height), how))
    else:
        soft = cv2.GaussianBlur(rgb, (0, 0), float(random.uniform(0.6, 1.2)))
        small = np.asarray(cv2.resize(soft, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    if random.random() < 0.2:
        buffer = io.BytesIO()
        Image.fromarray(small).save(buffer, "JPEG", quality=int(random.integers(80, 97)))
        small = np.asarray(Image.open(buffer).convert("RGB"))
    return small


def softened(rgb: Rgb, random: np.random.Generator) -> Rgb:
    """A third of the large pictures out of focus, as photographs often are: not all that is soft may be made sharp."""
    if random.random() < 0.65:
        return rgb
    return np.asarray(cv2.GaussianBlur(rgb, (0, 0), float(random.uniform(0.5, 1.6))), np.uint8)


def batch(pictures: list[Rgb], random: np.random.Generator) -> tuple[Tensor, Tensor]:
    """(small `[N, 3, PATCH / 2, PATCH / 2]`, large `[N, 3, PATCH, PATCH]`)."""
    small: list[Rgb] = []
    large: list[Rgb] = []
    while len(large) < BATCH:
        picture = pictures[int(random.integers(len(pictures)))]
        top, left = (int(random.integers((side - PATCH - 16) // 2)) * 2 for side in picture.shape[:2])
        part = picture[top : top + PATCH + 16, left : left + PATCH + 16]
        if part.std() < 6 and random.random() < 0.7:  # empty sky teaches little
            continue
        part = np.rot90(part, int(random.integers(4)))[:, :: int(random.choice([-1, 1]))]
        part = softened(np.ascontiguousarray(part), random)
        small.append(halved(part, random)[4:-4, 4:-4])
        large.append(part[8:-8, 8:-8])
    return _tensor(small), _tensor(large)


def _tensor(pictures: list[Rgb]) -> Tensor:
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255


def train(minutes: float, pictures: int, out: Path, start_from: Path | None = None) -> None:
    """Adam on the absolute error, the rate falling to nothing."""
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    began = time.perf_counter()
    scenes = [render(seed, 640, 384) for seed in range(pictures)]
    print(f"{pictures} pictures drawn in {time.perf_counter() - began:.0f} s")
    model = Upscaler()
    if start_from is not None:
        model.load_state_dict(load_file(start_from))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    began, step, sums = time.perf_counter(), 0, [0.0, 0.0]
    while (done := (time.perf_counter() - began) / (60 * minutes)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * 0.5 * (1 + np.cos(np.pi * done)) + 1e-6
        small, large = batch(scenes, random)
        loss = ((model(small) - large).square() + 1e-5).sqrt().mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        step, sums = step + 1, [sums[0] + float(loss.detach()), sums[1] + 1]
        if step % 500 == 0:
            print(f"step {step}, {done:.0%}: loss {sums[0] / sums[1]:.5f}", flush=True)
            sums = [0.0, 0.0]
            save_file(model.state_dict(), out)
    save_file(model.state_dict(), out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--pictures", type=int, default=300)
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    parser.add_argument("--start-from", type=Path, default=None, help="weights to go on from")
    chosen = parser.parse_args()
    train(chosen.minutes, chosen.pictures, chosen.out, chosen.start_from)


if __name__ == "__main__":
    main()
