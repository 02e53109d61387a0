"""Upscaling against plain resampling, new frames against blending: on renders that neither has seen, and how fast.

    python benchmarks/media.py [--quick] [--json FILE]

Large pictures and films at double rate are drawn by the procedural renderer from seeds that the upscaler was not
trained on; small ones are made of them by area, by bicubic filtering and through JPEG. Figures are means over pictures.
"""

from __future__ import annotations

import argparse
import io
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.report import Figure, at_least, print_table, write
from worldstream.worlds.media.frame_rate import between, measured
from worldstream.worlds.media.upscaler import load_upscaler
from worldstream.worlds.media.upscaling import upscaled
from worldstream.worlds.procedural.episodes import episode
from worldstream.worlds.training.upscaler import EVALUATION_SEED

Rgb = NDArray[np.uint8]
WIDTH, HEIGHT = 640, 384


def psnr_db(made: Rgb, truth: Rgb) -> float:
    """Peak signal-to-noise ratio of all three channels together."""
    error = float(np.mean(np.square(made.astype(float) - truth)))
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


def ssim(made: Rgb, truth: Rgb) -> float:
    """Structural similarity of the luma (Wang et al. 2004): Gaussian windows of 11 pixels, sigma 1.5."""
    x, y = (cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float64) for rgb in (made, truth))

    def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(cv2.GaussianBlur(values, (11, 11), 1.5), np.float64)

    mean_x, mean_y = mean(x), mean(y)
    var_x, var_y = mean(x * x) - mean_x**2, mean(y * y) - mean_y**2
    both = mean(x * y) - mean_x * mean_y
    first, second = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    above = (2 * mean_x * mean_y + first) * (2 * both + second)
    return float((above / ((mean_x**2 + mean_y**2 + first) * (var_x + var_y + second)))[5:-5, 5:-5].mean())


def by_area(rgb: Rgb, factor: int) -> Rgb:
    size = (rgb.shape[1] // factor, rgb.shape[0] // factor)
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)


def by_bicubic(rgb: Rgb, factor: int) -> Rgb:
    size = (rgb.shape[1] // factor, rgb.shape[0] // factor)
    return np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.BICUBIC))


def by_jpeg(rgb: Rgb, factor: int) -> Rgb:
    buffer = io.BytesIO()
    Image.fromarray(by_area(rgb, factor)).save(buffer, "JPEG", quality=90)
    return np.asarray(Image.open(buffer).convert("RGB"))


WAYS: dict[str, Callable[[Rgb, int], Rgb]] = {"area": by_area, "bicubic": by_bicubic, "area and JPEG": by_jpeg}


def lanczos(rgb: Rgb, size: tuple[int, int]) -> Rgb:
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_LANCZOS4), np.uint8)


def upscaling(pictures: int) -> list[Figure]:
    model = load_upscaler()
    truths = [episode(EVALUATION_SEED + seed, 2, WIDTH, HEIGHT, changes=False).rgb[-1] for seed in range(pictures)]
    figures = []
    for factor, ways in ((2, WAYS), (4, {"area": by_area})):
        for name, way in ways.items():
            rows = []
            for truth in truths:
                small = way(truth, factor)
                made, plain = upscaled(small, WIDTH, HEIGHT, model), lanczos(small, (WIDTH, HEIGHT))
                rows.append((psnr_db(made, truth), psnr_db(plain, truth), ssim(made, truth), ssim(plain, truth)))
            mine, plain_db, my_ssim, plain_ssim = np.mean(rows, axis=0)
            worst = min(row[0] - row[1] for row in rows)
            title = f"upscaling x{factor}, made small by {name}"
            figures += [
                at_least(f"{title}: PSNR above Lanczos", float(mine - plain_db), "dB", 0.3),
                Figure(f"{title}: PSNR of Lanczos", float(plain_db), "dB"),
                Figure(f"{title}: the worst picture's gain", float(worst), "dB"),
                at_least(f"{title}: SSIM above Lanczos", float(my_ssim - plain_ssim), "", 0.0),
            ]
    return figures


def flicker(films: int) -> list[Figure]:
    """How much more two neighbouring frames differ from each other than the true ones do, per pixel."""
    model, rows = load_upscaler(), []
    for seed in range(films):
        truth = episode(EVALUATION_SEED + 100 + seed, 4, WIDTH, HEIGHT, changes=False).rgb
        small = [by_area(rgb, 2) for rgb in truth]
        made = [upscaled(rgb, WIDTH, HEIGHT, model).astype(float) for rgb in small]
        plain = [lanczos(rgb, (WIDTH, HEIGHT)).astype(float) for rgb in small]
        for index in range(3):
            change = truth[index + 1].astype(float) - truth[index]
            rows.append([np.abs(film[index + 1] - film[index] - change).mean() for film in (made, plain)])
    mine, other = np.mean(rows, axis=0)
    return [at_least("upscaling x2: error of the change from frame to frame, less than Lanczos's by",
                     float(other - mine), "of 255", 0.0)]  # fmt: skip


def interpolation(films: int) -> list[Figure]:
    rows = []
    for seed in range(films):
        truth = episode(EVALUATION_SEED + 200 + seed, 7, 384, 224, changes=False).rgb
        for index in (1, 3, 5):
            made = between(measured(truth[index - 1], truth[index + 1]), 0.5)
            blend = np.rint((truth[index - 1].astype(float) + truth[index + 1]) / 2).astype(np.uint8)
            rows.append((psnr_db(made, truth[index]), psnr_db(blend, truth[index]),
                         ssim(made, truth[index]), ssim(blend, truth[index])))  # fmt: skip
    mine, blend_db, my_ssim, blend_ssim = np.mean(rows, axis=0)
    better = np.mean([row[0] > row[1] for row in rows])
    return [
        at_least("frame rate x2: PSNR above blending", float(mine - blend_db), "dB", 1.0),
        Figure("frame rate x2: PSNR of blending", float(blend_db), "dB"),
        at_least("frame rate x2: SSIM above blending", float(my_ssim - blend_ssim), "", 0.0),
        Figure("frame rate x2: frames that are nearer to the truth than a blend", float(100 * better), "%"),
    ]


def speed() -> list[Figure]:
    model = load_upscaler()
    rgb = episode(EVALUATION_SEED, 3, 640, 360, changes=False).rgb
    figures = []
    upscaled(rgb[0][:32, :32], 64, 64, model)
    started = time.process_time()
    upscaled(rgb[0], 1280, 720, model)
    figures.append(Figure("upscaling 640 x 360 to 1280 x 720, one core", time.process_time() - started, "s per frame"))
    started = time.process_time()
    between(measured(rgb[0], rgb[2]), 0.5)
    figures.append(Figure("a new frame of 640 x 360, one core", time.process_time() - started, "s per frame"))
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few pictures, for a first look")
    parser.add_argument("--json", type=Path, default=None)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    count = 4 if chosen.quick else 16
    figures = upscaling(count) + flicker(max(2, count // 4)) + interpolation(count // 2) + speed()
    print_table(figures)
    if chosen.json is not None:
        write(chosen.json, figures)


if __name__ == "__main__":
    main()
