"""Small invented films for the tests, and files of them as other programs would write them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from worldstream.worlds.media.sound import Sound

WIDTH, HEIGHT = 64, 36
Rgb = NDArray[np.uint8]


def gradient(count: int, width: int = WIDTH, height: int = HEIGHT) -> Iterator[Rgb]:
    """Smooth colours that move a little."""
    y, x = np.mgrid[:height, :width]
    for index in range(count):
        blue = (x + y + 2 * index) * 200 // (width + height + 2 * count)
        yield np.stack([30 + x * 200 // width, 20 + y * 200 // height, 20 + blue], -1).astype(np.uint8)


def tone(seconds: float, rate_hz: int = 48_000, channels: int = 1, hz: float = 440.0) -> Sound:
    time = np.arange(round(seconds * rate_hz)) / rate_hz
    return Sound(np.tile(0.5 * np.sin(2 * np.pi * hz * time), (channels, 1)).astype(np.float32), rate_hz)


def written(
    path: Path,
    codec: str,
    pixels: str,
    frames: list[Rgb],
    *,
    options: dict[str, str] | None = None,
    times_ms: list[int] | None = None,
    change: Callable[[Any], None] | None = None,
    alpha: int | None = None,
) -> Path:
    """A file by FFmpeg at 25 frames per second, or at the times given."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=25, options=options or {})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pixels
        if change is not None:
            change(stream)
        for index, rgb in enumerate(frames):
            if alpha is None:
                frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            else:
                four = np.concatenate([rgb, np.full((*rgb.shape[:2], 1), alpha, np.uint8)], -1)
                frame = av.VideoFrame.from_ndarray(four, format="rgba")
            frame = frame.reformat(format=pixels)
            frame.pts = index if times_ms is None else times_ms[index]
            if times_ms is not None:
                frame.time_base = Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def difference(first: Rgb, second: Rgb) -> float:
    return float(np.abs(first.astype(float) - second).mean())
