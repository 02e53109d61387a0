"""Notices when a walk leaves the world that was asked for, before a person would.

Every few frames the newest latent is turned into a small picture by the tokenizer's linear map alone, and read: the
judge's features of it, its luminance and colour, how much varies across and down, how strong the fine detail is. The
distance of the readings of the last two seconds from those of the anchor is measured in the spread that true walks
have (Mahalanobis), and 1 is what one true walk of 300 frames in a hundred reaches. `worlds/training/drift.py` measures
both on renders that no training saw.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from .autoencoder import Autoencoder
from .config import DriftConfig
from .history import COARSE
from .judge import Judge, judged_size, load_judge

FINE, STRAYING, LOST = range(3)
VERDICTS = ("fine", "straying", "lost")
FILE = "drift.safetensors"
FLOOR = 0.05  # of strengths before their logarithm: a black picture is dark, not infinitely poor


class Gauge:
    """Reads latents. Immutable; shared by all walks of a world."""

    def __init__(self, judge: Judge, autoencoder: Autoencoder, whitening: Tensor | None = None) -> None:
        """`whitening` is `[R, R]` for R readings; the identity while it is being measured."""
        self._judge = judge
        linear = autoencoder.encoder.linear
        assert linear.bias is not None
        self._shift = (autoencoder.mean - linear.bias.detach())[:, None, None]
        self._scale = autoencoder.std[:, None, None]
        self._patches = torch.linalg.pinv(linear.weight.detach().flatten(1))  # [3 * 64, C]
        self.whitening = whitening

    def picture(self, latents: Tensor) -> Tensor:
        """Latents `[N, C, h, w]` as pictures `[N, 3, 80, 128]` in [0, 1]: soft, and the judge reads them as well."""
        scores = latents * self._scale + self._shift
        patches = torch.einsum("nchw,dc->ndhw", scores, self._patches)
        return judged_size((F.pixel_shuffle(patches, 8) * 0.5 + 0.5).clamp(0, 1))

    @torch.inference_mode()
    def readings(self, latents: Tensor) -> Tensor:
        """`[N, C, h, w]` to `[N, R]`, whitened."""
        coarse, fine = latents[:, :COARSE], latents[:, COARSE:]
        across = (coarse - coarse.mean(-1, keepdim=True)).square().mean((1, 2, 3)).sqrt()
        down = (coarse - coarse.mean(-2, keepdim=True)).square().mean((1, 2, 3)).sqrt()
        detail = fine.square().mean((1, 2, 3)).sqrt() if fine.shape[1] else torch.zeros_like(across)
        strengths = (torch.stack([across, down, detail], -1) + FLOOR).log()
        found = torch.cat([self._judge.features(self.picture(latents)), coarse.mean((2, 3)), strengths], -1)
        return found if self.whitening is None else found @ self.whitening

    @staticmethod
    def distance(a: Tensor, b: Tensor) -> Tensor:
        """Between whitened readings `[N, R]`, `[N]`."""
        return (a - b).square().mean(-1).sqrt()


def load_gauge(folder: Path, autoencoder: Autoencoder) -> Gauge:
    """From `judge.safetensors` and `drift.safetensors` in `folder`. Raises ValueError when one is missing."""
    path = folder / FILE
    if not path.is_file():
        raise ValueError(f"{path} is missing; restore it from the repository or run `worldstream train drift`")
    return Gauge(load_judge(folder), autoencoder, load_file(path)["whitening"].float())


def save_whitening(folder: Path, whitening: Tensor) -> None:
    """Write what `load_gauge` reads."""
    save_file({"whitening": whitening.half().contiguous()}, folder / FILE)
    (folder / FILE).chmod(0o644)


def whitening_of(differences: Tensor, shrink: float = 0.05) -> Tensor:
    """From differences of raw readings `[M, R]` within true walks: `[R, R]` that gives them unit covariance.

    The covariance is shrunk towards its diagonal: neighbouring frames are not independent, and M is not large.
    """
    covariance = differences.T.double() @ differences.double() / len(differences)
    covariance = (1 - shrink) * covariance + shrink * covariance.diagonal().diag()
    values, vectors = torch.linalg.eigh(covariance + 1e-6 * torch.eye(len(covariance)))
    return (vectors / values.sqrt()).float()


@dataclass(frozen=True, slots=True)
class Sight:
    """What has been seen of B walks. Replaced, never changed, so that a snapshot may keep it."""

    anchor: Tensor  # [B, R] readings of the frame that the walk is held to
    recent: Tensor  # [B, R] running mean of the newest readings
    distance: Tensor  # [B]
    verdict: Tensor  # int64 [B]: FINE, STRAYING or LOST


def looked(sight: Sight | None, gauge: Gauge, anchor: Tensor, newest: Tensor, config: DriftConfig) -> Sight:
    """After one more look. anchor and newest are latents `[B, C, h, w]`; the anchor is read where `sight` is None."""
    now = gauge.readings(newest)
    if sight is None:
        held = gauge.readings(anchor)
        sight = Sight(held, held, now.new_zeros(len(now)), torch.full((len(now),), FINE))
    recent = sight.recent + (now - sight.recent) / config.looks
    distance = gauge.distance(recent, sight.anchor)
    verdict = judged(sight.verdict, distance, config)
    return replace(sight, recent=recent, distance=distance, verdict=verdict)


def judged(before: Tensor, distance: Tensor, config: DriftConfig) -> Tensor:
    """The verdict with hysteresis: one comes at its threshold, and goes at `config.calm` of it."""
    verdict = torch.full_like(before, FINE)
    for level, threshold in ((STRAYING, config.straying), (LOST, config.lost)):
        stays = (before >= level) & (distance > config.calm * threshold)
        verdict = torch.where((distance > threshold) | stays, level, verdict)
    return verdict
