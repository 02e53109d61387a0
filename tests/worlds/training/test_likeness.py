"""The measures of likeness, on pictures whose answer is known."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from worldstream.worlds.training.likeness import (
    MOST_DB,
    each_psnr,
    each_ssim,
    frechet,
    like,
    mean_of,
    principal,
    sharpness,
)  # fmt: skip


def noise(n: int = 3, size: tuple[int, int] = (24, 32), seed: int = 0) -> torch.Tensor:
    return torch.rand(n, 3, *size, generator=torch.Generator().manual_seed(seed))


def test_psnr_of_a_known_error() -> None:
    a = torch.full((2, 3, 8, 8), 0.5)
    assert each_psnr(a, a + 0.1).tolist() == pytest.approx([20.0, 20.0], abs=1e-4)
    assert each_psnr(a, a).tolist() == [MOST_DB, MOST_DB]


def test_a_mask_asks_only_the_pixels_it_keeps() -> None:
    a = torch.full((2, 3, 8, 8), 0.5)
    b = a.clone()
    b[:, :, :, 4:] += 0.25
    left = torch.zeros(2, 8, 8, dtype=torch.bool)
    left[0, :, :4] = True
    first, second = each_psnr(a, b, left).tolist()
    assert first == MOST_DB
    assert math.isnan(second), "nothing kept, nothing said"
    assert each_psnr(a, b, ~left)[0] == pytest.approx(-20 * math.log10(0.25), abs=1e-4)
    assert mean_of(torch.tensor([1.0, float("nan"), 3.0])) == 2.0


def test_structure_is_lost_by_noise_and_blur_and_turned_round_by_inversion() -> None:
    a = F.interpolate(noise(size=(6, 8)), scale_factor=4, mode="bilinear")
    assert each_ssim(a, a).tolist() == pytest.approx([1.0] * 3, abs=1e-5)
    assert each_ssim(a, 1 - a).max() < 0
    assert each_ssim(a, F.avg_pool2d(a, 5, 1, 2)).max() < 0.95


def test_blur_is_less_sharp_and_masks_count_pairs_within() -> None:
    a = noise()
    blurred = F.avg_pool2d(a, 3, 1, 1)
    assert sharpness(a, a) == pytest.approx(1.0)
    assert sharpness(blurred, a) < 0.6
    seen = torch.zeros(3, 24, 32, dtype=torch.bool)
    seen[:, :, :16] = True
    mixed = torch.cat([a[..., :16], blurred[..., 16:]], -1)
    assert sharpness(mixed, a, seen) == pytest.approx(1.0)
    assert sharpness(mixed, a, ~seen) < 0.7


def test_frechet_distance_of_two_gaussians() -> None:
    g = torch.Generator().manual_seed(1)
    a, b = torch.randn(20_000, 3, generator=g), 2 * torch.randn(20_000, 3, generator=g)
    assert frechet(a, a) == pytest.approx(0.0, abs=1e-6)
    b[:, 0] += 3.0
    assert frechet(a, b) == pytest.approx(9.0 + 3 * (2 - 1) ** 2, rel=0.03)
    with pytest.raises(ValueError, match="two pictures or more"):
        frechet(a[:1], b)


def test_principal_components_keep_the_distance_that_there_is() -> None:
    g = torch.Generator().manual_seed(2)
    flat = torch.randn(2, 500, 2, generator=g)
    turned = torch.linalg.qr(torch.randn(8, 8, generator=g))[0][:2]
    a, b = flat[0] @ turned, (flat[1] + 1) @ turned
    x, y = principal([a, b], 2)
    assert x.shape == (500, 2)
    assert frechet(x, y) == pytest.approx(frechet(a, b), rel=1e-4)


def test_pictures_are_brought_to_the_size_of_the_truth() -> None:
    assert like(noise(size=(48, 64)), noise()).shape == (3, 3, 24, 32)
    assert like(noise(), noise()) is not None
