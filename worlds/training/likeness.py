"""How alike pictures are: PSNR, SSIM and sharpness, on whole pictures or on some of their pixels, and the Fréchet
distance between two crowds of features.

PSNR rewards blur, so it is never read without the sharpness beside it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

MOST_DB = 45.0  # where a picture's PSNR is cut off: an idle frame copies perfectly
WINDOW_PX, WINDOW_DEVIATION_PX = 11, 1.5  # of SSIM (Wang et al. 2004)
LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True, slots=True)
class Reading:
    """One measured number, and what the same measure says of three others; None where it says nothing.

    `ceiling`: the truth that went through the tokenizer. `copy_last`: a model that repeats what it was given last.
    `memory_off`: the model without its memory of places.
    """

    value: float
    unit: str = ""
    ceiling: float | None = None
    copy_last: float | None = None
    memory_off: float | None = None


Readings = dict[str, Reading]


def like(pictures: Tensor, other: Tensor) -> Tensor:
    """Pictures `[N, 3, H, W]` at the height and width of `other`, by area averaging."""
    size = other.shape[-2:]
    return pictures if pictures.shape[-2:] == size else F.interpolate(pictures, size, mode="area")


def each_psnr(a: Tensor, b: Tensor, seen: Tensor | None = None) -> Tensor:
    """PSNR in dB `[N]` of pictures `[N, 3, H, W]` in [0, 1], at most `MOST_DB`.

    `seen` `bool[N, H, W]` keeps some of the pixels; NaN where it keeps none.
    """
    squared = (a - b).square().mean(1)
    return -10 * torch.log10(_mean_over(squared, seen).clamp(min=10 ** (-MOST_DB / 10)))


def each_ssim(a: Tensor, b: Tensor, seen: Tensor | None = None) -> Tensor:
    """Structural similarity of brightness `[N]`, 1 is the same; arguments as `each_psnr`."""
    weights = a.new_tensor(LUMA).view(1, 3, 1, 1)
    x, y = (a * weights).sum(1, keepdim=True), (b * weights).sum(1, keepdim=True)
    steps = torch.arange(WINDOW_PX, device=a.device) - WINDOW_PX // 2
    line = torch.exp(-steps.square() / (2 * WINDOW_DEVIATION_PX**2))
    window = torch.outer(line, line)
    window = (window / window.sum()).view(1, 1, WINDOW_PX, WINDOW_PX)

    def blurred(z: Tensor) -> Tensor:
        return F.conv2d(F.pad(z, (WINDOW_PX // 2,) * 4, mode="reflect"), window)

    mx, my = blurred(x), blurred(y)
    vx, vy, vxy = blurred(x * x) - mx * mx, blurred(y * y) - my * my, blurred(x * y) - mx * my
    c1, c2 = 0.01**2, 0.03**2
    scores = ((2 * mx * my + c1) * (2 * vxy + c2)) / ((mx * mx + my * my + c1) * (vx + vy + c2))
    return _mean_over(scores[:, 0], seen)


def edge_energy(pictures: Tensor, seen: Tensor | None = None) -> Tensor:
    """Mean absolute difference to the right and to the lower neighbour `[N]`; with `seen`, between kept pixels only."""
    right = (pictures[..., 1:] - pictures[..., :-1]).abs().mean(1)
    down = (pictures[..., 1:, :] - pictures[..., :-1, :]).abs().mean(1)
    if seen is None:
        return _mean_over(right, None) + _mean_over(down, None)
    return _mean_over(right, seen[..., 1:] & seen[..., :-1]) + _mean_over(down, seen[:, 1:] & seen[:, :-1])


def sharpness(drawn: Tensor, truth: Tensor, seen: Tensor | None = None) -> float:
    """Edge energy of the drawn pictures as a share of the true ones' at the same size, over all of them together."""
    energies = edge_energy(drawn, seen), edge_energy(truth, seen)
    both = energies[0].isfinite() & energies[1].isfinite()
    return float(energies[0][both].sum() / energies[1][both].sum())


def mean_of(values: Tensor) -> float:
    """The mean of what is a number; NaN where nothing is."""
    return float(values[values.isfinite()].mean())


def _mean_over(values: Tensor, seen: Tensor | None) -> Tensor:
    """`[N, H, W]` to `[N]`."""
    if seen is None:
        return values.mean((1, 2))
    count = seen.sum((1, 2))
    return torch.where(count > 0, (values * seen).sum((1, 2)) / count.clamp(min=1), float("nan"))


def frechet(a: Tensor, b: Tensor) -> float:
    """Fréchet distance of two crowds of features `[N, D]`, `[M, D]`, each taken as a Gaussian (1706.08500).

    Biased upwards for small N: compare only distances of equally many pictures. Raises ValueError for fewer than two.
    """
    if min(len(a), len(b)) < 2:
        raise ValueError(f"a Fréchet distance needs two pictures or more on each side, got {len(a)} and {len(b)}")
    x, y = a.double(), b.double()
    between = (x.mean(0) - y.mean(0)).square().sum()
    sx, sy = torch.cov(x.T), torch.cov(y.T)
    values, vectors = torch.linalg.eigh(sx)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    shared = torch.linalg.eigvalsh(root @ sy @ root).clamp(min=0).sqrt().sum()
    return float((between + sx.trace() + sy.trace() - 2 * shared).clamp(min=0))


def principal(crowds: list[Tensor], most: int) -> list[Tensor]:
    """The crowds in the `most` leading principal components of all of them together.

    Fewer numbers a picture make a smaller bias. The axes come from the drawn pictures too, so that no way of being
    wrong is projected away.
    """
    together = torch.cat(crowds).double()
    centre = together.mean(0)
    _, _, basis = torch.linalg.svd(together - centre, full_matrices=False)
    return [(crowd.double() - centre) @ basis[:most].T for crowd in crowds]
