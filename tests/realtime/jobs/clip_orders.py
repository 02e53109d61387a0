"""Orders for jobs that draw, a workshop with a small world, and what a video file holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from tests.worlds.tiny_world import WORLD, world
from worldstream.realtime.jobs.contract import JobOrder

Picture = NDArray[np.uint8]


@dataclass
class OneWorld:
    """Satisfies `Workshop`."""

    loaded: Any
    data: Path = Path("nowhere")
    settings: Mapping[str, str] = field(default_factory=dict)

    def setting(self, name: str) -> str:
        return self.settings.get(name, "")

    def world(self, name: str = "") -> Any:
        if name:
            raise ValueError(f"there is no world named {name!r}; worlds on this machine: test")
        return self.loaded


def small(fps: float = 25.0) -> OneWorld:
    """A world of 96 x 64 pixels; fewer frames a second make a long clip of few frames."""
    return OneWorld(world(replace(WORLD, fps=fps)))


def order(kind: str, folder: Path, inputs: Mapping[str, Path] | None = None, **params: Any) -> JobOrder:
    folder.mkdir(exist_ok=True)
    asked = {"prompt": "a misty forest", "width": 96, "height": 64, "seed": 7, **params}
    return JobOrder("task", kind, asked, inputs or {}, folder)


@dataclass
class Told:
    """Satisfies `Tell`: keeps what it heard. Raises `stop` once `after` reports have come."""

    after: int = 10**9
    stop: BaseException | None = None
    fractions: list[float] = field(default_factory=list)
    previews: list[Picture] = field(default_factory=list)

    def __call__(self, fraction: float, preview: Picture | None = None) -> None:
        self.fractions.append(fraction)
        if preview is not None:
            self.previews.append(preview)
        if self.stop is not None and len(self.fractions) >= self.after:
            raise self.stop


def frames_of(path: Path) -> list[Picture]:
    """Decoded by FFmpeg alone, without our reader."""
    with av.open(str(path)) as container:
        return [np.asarray(f.to_ndarray(format="rgb24"), np.uint8) for f in container.decode(video=0)]


def psnr(a: Picture, b: Picture) -> float:
    error = float(np.mean((a.astype(np.float64) - b) ** 2))
    return float("inf") if error == 0 else 10 * float(np.log10(255**2 / error))
