"""How far a picture is from those that a world was trained on, and what it shows: asked before it starts a world.

A picture is described by what the judge sees in it (128 features), by how strong and how rough each latent channel is,
and by how much of it survives the tokenizer (PSNR). Its distance is Mahalanobis' to the nearest theme's mean over
rendered pictures (Lee et al., 1807.03888), divided by the distance that 99 % of renders keep: above 1 is far. So is
what the tokenizer keeps worse than 99.5 % of renders: letters, noise. `worldstream train familiarity` makes the
statistics and prints how often they are wrong.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from .autoencoder import Autoencoder
from .core import Sight
from .judge import Judge, caption_of, judged_size

SHRINKAGE = 0.02  # of the covariance towards its diagonal
KEPT = 0.99  # share of the renders that are near
KEPT_WELL = 0.995  # share of the renders that the tokenizer keeps well enough
PSNR_SCALE_DB = 5.0


@torch.inference_mode()
def described(judge: Judge, autoencoder: Autoencoder, pictures: Tensor) -> Tensor:
    """Pictures `[N, 3, H, W]` in [0, 1] at the decoder's size to descriptors `[N, D]`."""
    half = nn.functional.avg_pool2d(pictures, 2)
    latents = autoencoder.encode(half)  # [N, C, h, w]
    kept = nn.functional.avg_pool2d(autoencoder.decode(latents), 2)
    error = (kept - half).square().mean((1, 2, 3)).clamp(min=1e-6)
    across, down = latents.diff(dim=3).abs().flatten(2), latents.diff(dim=2).abs().flatten(2)
    rough = [(x + 0.01).log() for d in (across, down) for x in (d.mean(-1), d.median(-1).values)]
    strength = (latents.std((2, 3)) + 0.02).log()
    psnr = -10 * error.log10()[:, None] / PSNR_SCALE_DB
    return torch.cat([judge.features(judged_size(pictures)), strength, *rough, psnr], 1)


@dataclass(frozen=True, slots=True)
class Familiarity:
    """Statistics of the descriptors of rendered pictures."""

    means: Tensor  # [K, D], one a theme, whitened
    whitening: Tensor  # [D, D]
    threshold: float
    floor_db: float  # PSNR of the tokenizer below which a picture is far, whatever else it is

    def distances(self, descriptors: Tensor) -> Tensor:
        """`[N, D]` to `[N]`: 1 is as far as the farthest hundredth of the renders."""
        white = descriptors @ self.whitening
        lost = self.floor_db / (descriptors[:, -1] * PSNR_SCALE_DB).clamp(min=1.0)
        return torch.maximum(torch.cdist(white, self.means).min(1).values / self.threshold, lost)


def fitted(descriptors: Tensor, themes: Tensor) -> Familiarity:
    """From descriptors `[N, D]` of renders and their themes `[N]`; every theme needs a few of them."""
    means = torch.stack([descriptors[themes == k].mean(0) for k in themes.unique()])  # [K, D]
    nearest = torch.searchsorted(themes.unique(), themes)
    covariance = torch.cov((descriptors - means[nearest]).T.double())
    covariance += SHRINKAGE * torch.diag(torch.diag(covariance))
    # half precision is what the file holds: the threshold must be that of the numbers that are used
    whitening = torch.linalg.inv(torch.linalg.cholesky(covariance)).T.half().float()
    white = (means @ whitening).half().float()
    floor_db = float(descriptors[:, -1].quantile(1 - KEPT_WELL)) * PSNR_SCALE_DB
    distances = torch.cdist(descriptors @ whitening, white).min(1).values
    return Familiarity(white, whitening, float(distances.quantile(KEPT)), floor_db)


def weights_hash(*modules: nn.Module) -> str:
    """Of the weights in half precision, as they are shipped."""
    digest = hashlib.sha256()
    for module in modules:
        for name, tensor in sorted(module.state_dict().items()):
            digest.update(name.encode() + tensor.half().numpy().tobytes())
    return digest.hexdigest()


def path_of(folder: Path, world: str) -> Path:
    return folder / f"{world}.familiarity.safetensors"


def save_familiarity(folder: Path, world: str, made: Familiarity, judge: Judge, autoencoder: Autoencoder) -> Path:
    """Write it beside the world's weights."""
    path = path_of(folder, world)
    tensors = {"means": made.means.half().contiguous(), "whitening": made.whitening.half().contiguous()}
    facts = {"threshold": repr(made.threshold), "floor_db": repr(made.floor_db)}
    save_file(tensors, path, {"weights": weights_hash(judge, autoencoder), **facts})
    path.chmod(0o644)
    return path


def load_familiarity(folder: Path, world: str, judge: Judge, autoencoder: Autoencoder) -> Familiarity:
    """Raises ValueError when the file is missing, damaged, or made with other weights."""
    path = path_of(folder, world)
    remedy = "restore it from the repository or run `worldstream train familiarity`"
    if not path.is_file():
        raise ValueError(f"{path} is missing; {remedy}")
    try:
        with safe_open(path, "pt") as file:
            facts = file.metadata()
            means, whitening = (file.get_tensor(name).float() for name in ("means", "whitening"))
        threshold, floor_db, made_with = float(facts["threshold"]), float(facts["floor_db"]), facts["weights"]
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} cannot be read ({error}); {remedy}") from error
    if made_with != weights_hash(judge, autoencoder):
        raise ValueError(f"{path} was made with another judge or tokenizer than those of {world}; {remedy}")
    return Familiarity(means, whitening, threshold, floor_db)


class PictureViewer:
    """`core.Viewer` of an embedded world."""

    def __init__(self, judge: Judge, autoencoder: Autoencoder, familiarity: Familiarity) -> None:
        self._judge, self._autoencoder, self._familiarity = judge, autoencoder, familiarity

    @torch.inference_mode()
    def look(self, rgb: NDArray[np.uint8]) -> Sight:
        """What a picture `[H, W, 3]` at the world's size shows, and how far it is from what the world knows."""
        picture = torch.from_numpy(rgb.astype(np.float32)).permute(2, 0, 1)[None] / 255
        caption, confidence = caption_of(self._judge, judged_size(picture))
        distance = self._familiarity.distances(described(self._judge, self._autoencoder, picture))
        return Sight(caption, confidence, float(distance))
