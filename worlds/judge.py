"""The judge: a small network that knows only renders. It reads theme, time, weather and mood from a picture, and the motion
between two pictures. It measures the worlds; it takes no part in drawing them.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from .autoencoder import ResidualBlock
from .conditioning import STEP_SCALE_M, TURN_SCALE_RAD
from .procedural.attributes import MOODS, THEMES, TIMES, WEATHERS

GAP = 2  # frames between the two pictures of a motion estimate
WIDTH_PX, HEIGHT_PX = 128, 80
SCALES = torch.tensor([STEP_SCALE_M, STEP_SCALE_M, TURN_SCALE_RAD, TURN_SCALE_RAD])
SIZES = (len(THEMES), len(TIMES), len(WEATHERS), len(MOODS))


def _trunk(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.PixelUnshuffle(4),  # [N, 16 * channels, 20, 32]
        nn.Conv2d(16 * channels, 72, 3, padding=1),
        ResidualBlock(72),
        ResidualBlock(72),
        nn.Conv2d(72, 96, 2, stride=2),  # 10 x 16
        ResidualBlock(96),
        ResidualBlock(96),
        nn.Conv2d(96, 128, 2, stride=2),  # 5 x 8
        ResidualBlock(128),
        nn.SiLU(),
    )


class Judge(nn.Module):
    """Two trunks: one picture to attributes and features, two pictures to a motion."""

    def __init__(self) -> None:
        super().__init__()
        self.look = _trunk(3)
        self.attributes = nn.Linear(128, sum(SIZES))
        self.motion = _trunk(6)
        self.deltas = nn.Sequential(nn.Linear(128 * 40, 128), nn.SiLU(), nn.Linear(128, 4))

    def features(self, pictures: Tensor) -> Tensor:
        """`[N, 3, 80, 128]` in [0, 1] to `[N, 128]`, for Fréchet distances."""
        out: Tensor = self.look(pictures * 2 - 1).mean((2, 3))
        return out

    def read(self, pictures: Tensor) -> tuple[Tensor, ...]:
        """Logits of theme, time, weather, mood of pictures `[N, 3, 80, 128]`."""
        return tuple(self.attributes(self.features(pictures)).split(SIZES, -1))

    def moved(self, before: Tensor, after: Tensor) -> Tensor:
        """Motion from `before` to `after`, GAP frames later: right and forward in metres, yaw and pitch in radians, `[N, 4]`."""
        x = self.motion(torch.cat([before, after - before], 1) * 2)
        out: Tensor = self.deltas(x.flatten(1)) * GAP * SCALES.to(x.device)
        return out


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
