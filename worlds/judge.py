"""The judge: it knows only renders. A small network reads theme, time, weather and mood from a picture; a regression
on optical flow reads the motion between two pictures. It measures the worlds; it takes no part in drawing them.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from .autoencoder import ResidualBlock
from .conditioning import STEP_SCALE_M, TURN_SCALE_RAD
from .procedural.attributes import MOODS, THEMES, TIMES, WEATHERS

GAP = 2  # frames between the two pictures of a motion estimate
WIDTH_PX, HEIGHT_PX = 128, 80
FLOW_SIZE = 80
SCALES = torch.tensor([STEP_SCALE_M, STEP_SCALE_M, TURN_SCALE_RAD, TURN_SCALE_RAD])
SIZES = (len(THEMES), len(TIMES), len(WEATHERS), len(MOODS))


class Judge(nn.Module):
    """A convolutional trunk that reads attributes, and a small regression from optical flow to motion."""

    def __init__(self) -> None:
        super().__init__()
        self.look = nn.Sequential(
            nn.PixelUnshuffle(4),  # [N, 48, 20, 32]
            nn.Conv2d(48, 72, 3, padding=1),
            ResidualBlock(72),
            ResidualBlock(72),
            nn.Conv2d(72, 96, 2, stride=2),  # 10 x 16
            ResidualBlock(96),
            ResidualBlock(96),
            nn.Conv2d(96, 128, 2, stride=2),  # 5 x 8
            ResidualBlock(128),
            nn.SiLU(),
        )
        self.attributes = nn.Linear(128, sum(SIZES))
        self.motion = nn.Sequential(nn.Linear(FLOW_SIZE, 96), nn.SiLU(), nn.Linear(96, 96), nn.SiLU(), nn.Linear(96, 4))

    def features(self, pictures: Tensor) -> Tensor:
        """`[N, 3, 80, 128]` in [0, 1] to `[N, 128]`, for Fréchet distances."""
        out: Tensor = self.look(pictures * 2 - 1).mean((2, 3))
        return out

    def read(self, pictures: Tensor) -> tuple[Tensor, ...]:
        """Logits of theme, time, weather, mood of pictures `[N, 3, 80, 128]`."""
        return tuple(self.attributes(self.features(pictures)).split(SIZES, -1))

    def moved(self, before: Tensor, after: Tensor) -> Tensor:
        """Motion `[N, 4]` from `before` to `after`, GAP frames later: right, forward (m), yaw, pitch (rad)."""
        out: Tensor = self.motion(flow_cells(before, after)) * GAP * SCALES
        return out


SURE = 0.4  # the probability from which time, weather and mood are said; chance is 0.17


@torch.inference_mode()
def caption_of(judge: Judge, picture: Tensor) -> tuple[str, float]:
    """(a prompt for what a picture `[1, 3, 80, 128]` shows, the probability of its theme).

    The theme always stands first; what the judge is not sure of is left out.
    """
    said: list[tuple[str, float]] = []
    for names, logits in zip((THEMES, TIMES, WEATHERS, MOODS), judge.read(picture), strict=True):
        probability, index = logits[0].softmax(-1).max(-1)
        said.append((names[int(index)], float(probability)))
    theme, others = said[0], said[1:]
    return ", ".join([theme[0], *(name for name, probability in others if probability >= SURE)]), theme[1]


def flow_cells(before: Tensor, after: Tensor) -> Tensor:
    """Mean optical flow in pixels over 8 x 5 cells of pictures `[N, 3, 80, 128]`, as `[N, FLOW_SIZE]`.

    Dense inverse search (Kroeger et al., 1603.03590), an independent method that shares nothing with the model.
    """
    method = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    rows = []
    for pair in zip(before, after, strict=True):
        grey = [cv2.cvtColor(_bytes(p), cv2.COLOR_RGB2GRAY) for p in pair]
        flow = method.calc(grey[0], grey[1], np.empty(0, np.float32))  # [80, 128, 2]
        rows.append(flow.reshape(5, 16, 8, 16, 2).mean((1, 3)).ravel())
    return torch.from_numpy(np.stack(rows)) / 3.0


def _bytes(picture: Tensor) -> NDArray[np.uint8]:
    return (picture.clamp(0, 1).permute(1, 2, 0).numpy() * 255).astype(np.uint8)


def judged_size(pictures: Tensor) -> Tensor:
    """Pictures of any larger size, `[N, 3, H, W]`, at the judge's 128x80 by area averaging."""
    return F.interpolate(pictures, (HEIGHT_PX, WIDTH_PX), mode="area")


def load_judge(folder: Path) -> Judge:
    """The shipped judge, `judge.safetensors` in `folder`, in evaluation mode. Raises ValueError when it is missing."""
    path = folder / "judge.safetensors"
    if not path.is_file():
        raise ValueError(
            f"{path} is missing; restore it from the repository or run `worldstream train judge` and `export`"
        )
    judge = Judge()
    judge.load_state_dict({k: v.float() for k, v in load_file(path).items()})
    return judge.eval().requires_grad_(False)
