"""Pictures that no world of ours looks like, for measuring whether that is noticed. Made from a seed, kept nowhere."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

WIDTH_PX, HEIGHT_PX = 256, 160
Picture = NDArray[np.uint8]  # [160, 256, 3]
Rng = np.random.Generator


def _colour(rng: Rng) -> tuple[int, int, int]:
    red, green, blue = (int(x) for x in rng.integers(0, 256, 3))
    return red, green, blue


def noise(rng: Rng) -> Picture:
    """Independent pixels."""
    return rng.integers(0, 256, (HEIGHT_PX, WIDTH_PX, 3), dtype=np.uint8)


def clouds_of_colour(rng: Rng) -> Picture:
    """Noise on a coarse grid, smooth between its points."""
    k = int(rng.integers(1, 5))
    grid = Image.fromarray(rng.integers(0, 256, (10 * k, 16 * k, 3), dtype=np.uint8))
    return np.asarray(grid.resize((WIDTH_PX, HEIGHT_PX), Image.Resampling.BICUBIC))


def text_screen(rng: Rng) -> Picture:
    """Lines of letters, light or dark."""
    dark = bool(rng.integers(2))
    image = Image.new("RGB", (WIDTH_PX, HEIGHT_PX), (20, 22, 26) if dark else (250, 250, 248))
    draw = ImageDraw.Draw(image)
    for y in range(4, HEIGHT_PX - 4, int(rng.integers(9, 16))):
        line = "".join(chr(c) for c in rng.integers(97, 123, int(rng.integers(5, 40))))
        draw.text((int(rng.integers(2, 20)), y), line, fill=(220, 220, 220) if dark else (30, 30, 30))
    return np.asarray(image)


def gradient(rng: Rng) -> Picture:
    """One colour into another, across or down."""
    a, b = rng.integers(0, 256, (2, 3))
    t = np.linspace(0, 1, WIDTH_PX)[None, :, None] if rng.integers(2) else np.linspace(0, 1, HEIGHT_PX)[:, None, None]
    return np.broadcast_to(a + (b - a) * t, (HEIGHT_PX, WIDTH_PX, 3)).astype(np.uint8)


def shapes(rng: Rng) -> Picture:
    """Discs and boxes of one colour each."""
    image = Image.new("RGB", (WIDTH_PX, HEIGHT_PX), _colour(rng))
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(1, 12))):
        x, y, width, height = int(rng.integers(WIDTH_PX)), *(int(v) for v in rng.integers(4, 84, 3))
        (draw.ellipse if rng.integers(2) else draw.rectangle)((x, y, x + width, y + height), fill=_colour(rng))
    return np.asarray(image)


def flat(rng: Rng) -> Picture:
    """One colour."""
    return np.full((HEIGHT_PX, WIDTH_PX, 3), _colour(rng), np.uint8)


def checkerboard(rng: Rng) -> Picture:
    """Squares of 2 to 39 pixels, black and another colour."""
    k = int(rng.integers(2, 40))
    squares = np.add.outer(np.arange(HEIGHT_PX) // k, np.arange(WIDTH_PX) // k) % 2
    return (squares[..., None] * rng.integers(60, 256, 3)).astype(np.uint8)


KINDS: dict[str, Callable[[Rng], Picture]] = {
    "noise": noise, "clouds of colour": clouds_of_colour, "text": text_screen, "gradients": gradient,
    "shapes": shapes, "one colour": flat, "checkerboards": checkerboard,
}  # fmt: skip


def upside_down(render: Picture) -> Picture:
    """A render, turned: near misses, which share everything with the renders but their order."""
    return render[::-1].copy()


def negative(render: Picture) -> Picture:
    return 255 - render
