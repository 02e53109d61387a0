"""What a long walk looked like: a film strip every few minutes, and what the judge makes of it."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from benchmarks.report import Figure, at_least, at_most
from worldstream.worlds.judge import Judge, judged_size
from worldstream.worlds.procedural.attributes import THEMES
from worldstream.worlds.procedural.captions import parse
from worldstream.worlds.training.tokenizer import edge_ratio, to_tensor

Picture = NDArray[np.uint8]

EVERY_S = 1.0  # a picture is kept for the figures
STRIP_PICTURES = 10
STRIP_SIZE = (256, 160)
MOST_BYTES = 150_000


@dataclass(slots=True)
class Album:
    """Pictures of a walk, one a second, each with its time in seconds."""

    times_s: list[float] = field(default_factory=list)
    jpegs: list[bytes] = field(default_factory=list)

    def offer(self, now_s: float, jpeg: bytes) -> None:
        """Keep it if the last one is a second old."""
        if not self.times_s or now_s - self.times_s[-1] >= EVERY_S:
            self.times_s.append(now_s)
            self.jpegs.append(jpeg)

    def between(self, start_s: float, stop_s: float) -> list[int]:
        """Which pictures were taken in [start_s, stop_s)."""
        return [i for i, t in enumerate(self.times_s) if start_s <= t < stop_s]

    def picture(self, index: int) -> Picture:
        """`uint8[H, W, 3]`."""
        found = cv2.imdecode(np.frombuffer(self.jpegs[index], np.uint8), cv2.IMREAD_COLOR)
        assert found is not None, f"picture {index} is no JPEG"
        return np.asarray(cv2.cvtColor(found, cv2.COLOR_BGR2RGB), np.uint8)


def write_strip(path: Path, pictures: list[Picture], labels: list[str]) -> int:
    """A row of pictures, each labelled, as a JPEG of at most `MOST_BYTES`; its size."""
    row = []
    for picture, label in zip(pictures, labels, strict=True):
        tile = Image.fromarray(picture).resize(STRIP_SIZE)
        draw = ImageDraw.Draw(tile)
        draw.rectangle((4, 4, 12 + draw.textlength(label), 18), fill=(0, 0, 0))
        draw.text((8, 5), label, fill=(255, 255, 255))
        row.append(np.asarray(tile))
    whole = Image.fromarray(np.hstack(row))
    data = io.BytesIO()
    for quality in range(85, 20, -5):
        data = io.BytesIO()
        whole.save(data, "JPEG", quality=quality, optimize=True)
        if data.tell() <= MOST_BYTES:
            break
    path.write_bytes(data.getvalue())
    return data.tell()


def write_strips(folder: Path, album: Album, seconds: float, every_s: float) -> list[Path]:
    """One strip for each `every_s`, its pictures evenly spaced; named by the minute in which it begins."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for start in np.arange(0.0, seconds - 1e-6, every_s):
        have = album.between(start, start + every_s)
        if not have:
            continue
        chosen = [have[i] for i in np.linspace(0, len(have) - 1, min(STRIP_PICTURES, len(have))).astype(int)]
        labels = [f"{int(album.times_s[i] // 60)}:{int(album.times_s[i] % 60):02d}" for i in chosen]
        paths.append(folder / f"minute-{start / 60:04.1f}.jpg")
        write_strip(paths[-1], [album.picture(i) for i in chosen], labels)
    return paths


@dataclass(frozen=True, slots=True)
class Look:
    """The pictures of one stretch against those of the first minute."""

    start_s: float
    theme_kept: float  # share of pictures in which the judge sees the prompt's theme
    sharpness: float  # ratio of gradient energies
    colour_shift: float  # mean over the channels of the difference of mean colours, of 1


@torch.no_grad()
def looks(album: Album, judge: Judge, prompt: str, seconds: float, every_s: float) -> list[Look]:
    """Every stretch judged. Raises ValueError where the prompt names no theme or the first minute is empty."""
    theme = parse(prompt).theme
    if theme is None:
        raise ValueError(f"the prompt {prompt!r} names none of the themes ({', '.join(THEMES)}); name one to judge it")

    def stretch(start_s: float, stop_s: float) -> torch.Tensor:
        found = album.between(start_s, stop_s)
        if not found:
            raise ValueError(f"no picture came between {start_s:.0f} s and {stop_s:.0f} s")
        return judged_size(to_tensor(np.stack([album.picture(i) for i in found])))

    first = stretch(0.0, 60.0)
    out = []
    for start in np.arange(0.0, seconds - 1e-6, every_s):
        part = stretch(start, min(start + every_s, seconds))
        kept = float((judge.read(part)[0].argmax(-1) == theme).float().mean())
        shift = float((part.mean((0, 2, 3)) - first.mean((0, 2, 3))).abs().mean())
        out.append(Look(float(start), kept, edge_ratio(part, first), shift))
    return out


def look_figures(found: list[Look], lowest_theme: float = 0.95, most_shift: float = 0.05) -> list[Figure]:
    """The hour in three figures with targets, then every stretch."""
    sharpest, softest = max(x.sharpness for x in found), min(x.sharpness for x in found)
    kept = sum(x.theme_kept for x in found) / len(found)
    figures = [
        at_least("theme kept, mean of the stretches", kept, "", lowest_theme),
        at_most(
            "colour shift from the first minute, worst stretch", max(x.colour_shift for x in found), "", most_shift
        ),
        at_least("sharpness over the first minute's, softest stretch", softest, "", 0.8),
        at_most("sharpness over the first minute's, sharpest stretch", sharpest, "", 1.25),
    ]
    for x in found:
        when = f"from minute {x.start_s / 60:g}"
        figures += [
            Figure(f"theme kept, {when}", x.theme_kept, ""),
            Figure(f"sharpness over the first minute's, {when}", x.sharpness, ""),
            Figure(f"colour shift, {when}", x.colour_shift, ""),
        ]
    return figures
