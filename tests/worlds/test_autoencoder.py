"""The tokenizer's shapes, its limits, and the linear maps that it starts from."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.worlds.tiny_world import AUTOENCODER, autoencoder
from worldstream.worlds.autoencoder import CELL_PX, Autoencoder, AutoencoderConfig

CONFIG = AutoencoderConfig(channels=8, decoder_widths=(6, 6, 6), decoder_blocks=(1, 1, 1))


def smooth_pictures(count: int = 48, seed: int = 0) -> Tensor:
    """`[N, 3, 64, 96]` in [0, 1]: colour fields with a few soft features, as skies and ground have."""
    g = torch.Generator().manual_seed(seed)
    return F.interpolate(torch.rand(count, 3, 5, 6, generator=g), (64, 96), mode="bicubic").clamp(0, 1)


@pytest.fixture(scope="module")
def fitted() -> Autoencoder:
    torch.manual_seed(0)
    model = Autoencoder(CONFIG).eval().requires_grad_(False)
    model.fit_linear(smooth_pictures())
    return model


def test_shapes() -> None:
    model = autoencoder(AutoencoderConfig(3, (6, 6, 6), (1, 1, 1)))
    latents = model.encode(torch.rand(2, 3, 24, 40))
    assert latents.shape == (2, 3, 3, 5)
    assert model.decode(latents).shape == (2, 3, 48, 80)


@pytest.mark.parametrize("shape", [(3, 24, 40), (1, 4, 24, 40), (1, 3, 23, 40), (1, 3, 24, 44)])
def test_wrong_pictures_are_named(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"multiples of 8, got \(" + ", ".join(map(str, shape))):
        autoencoder().encode(torch.zeros(shape))


def test_decoded_pictures_are_in_range() -> None:
    pictures = autoencoder().decode(50 * torch.randn(2, AUTOENCODER.channels, 4, 6))
    assert pictures.min() == 0
    assert pictures.max() == 1


def test_pictures_of_a_batch_do_not_mix(fitted: Autoencoder) -> None:
    half = F.avg_pool2d(smooth_pictures(4, 1), 2)
    alone = torch.cat([fitted.decode(fitted.encode(x[None])) for x in half])
    torch.testing.assert_close(fitted.decode(fitted.encode(half)), alone, rtol=0, atol=1e-5)


def test_encoder_is_a_principal_component_analysis(fitted: Autoencoder) -> None:
    """Against the covariance's eigenvectors in numpy; their signs are free."""
    half = (F.avg_pool2d(smooth_pictures(), 2) * 2 - 1).double().numpy()
    n, c, h, w = half.shape
    cells = (
        half.reshape(n, c, h // CELL_PX, CELL_PX, w // CELL_PX, CELL_PX).transpose(0, 2, 4, 1, 3, 5).reshape(-1, 192)
    )
    _, vectors = np.linalg.eigh(np.cov(cells.T))
    scores = (cells - cells.mean(0)) @ vectors[:, ::-1][:, : CONFIG.channels]
    ours = fitted.encoder(torch.from_numpy(half).float() * 0.5 + 0.5).permute(0, 2, 3, 1).flatten(0, 2).double().numpy()
    agreement = np.abs((ours * scores).sum(0)) / np.linalg.norm(ours, axis=0) / np.linalg.norm(scores, axis=0)
    np.testing.assert_allclose(agreement, 1, atol=1e-3)
    np.testing.assert_allclose(ours.std(0), scores.std(0), rtol=1e-3)


def test_latents_are_centred_and_of_about_unit_size(fitted: Autoencoder) -> None:
    latents = fitted.encode(F.avg_pool2d(smooth_pictures(), 2))
    assert latents.mean((0, 2, 3)).abs().max() < 1e-3
    assert 0.3 < float(latents.square().mean().sqrt()) < 3


def test_linear_start_is_far_better_than_the_mean_picture(fitted: Autoencoder) -> None:
    train, unseen = smooth_pictures(), smooth_pictures(16, 7)
    drawn = fitted.decode(fitted.encode(F.avg_pool2d(unseen, 2)))
    error = (drawn - unseen).square().mean()
    grey = (train.mean(0) - unseen).square().mean()
    assert error < grey / 20
