"""Losses and measures of the tokenizer, against numpy and by their meaning."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from worldstream.worlds.autoencoder import Autoencoder, AutoencoderConfig
from worldstream.worlds.training.tokenizer import (
    edge_ratio,
    fit_tokenizer,
    gradients,
    picture_loss,
    psnr,
    stills,
    to_tensor,
)


def pictures(seed: int = 0, count: int = 3) -> torch.Tensor:
    return torch.rand(count, 3, 32, 48, generator=torch.Generator().manual_seed(seed))


def test_the_fit_writes_what_later_stages_read(tmp_path: Path) -> None:
    (tmp_path / "stills").mkdir()
    rng = np.random.default_rng(0)
    np.save(tmp_path / "stills" / "0000.npy", rng.integers(0, 255, (40, 96, 128, 3), np.uint8))
    config = AutoencoderConfig(decoder_widths=(8, 8, 8), decoder_blocks=(1, 1, 1))
    fitted = fit_tokenizer(tmp_path, tmp_path / "tokenizer.pt", config)
    again = Autoencoder(config)
    again.load_state_dict(torch.load(tmp_path / "tokenizer.pt", weights_only=True)["ema"])
    latents = torch.randn(1, 8, 6, 8)
    torch.testing.assert_close(fitted.decode(latents), again.decode(latents))


def test_picture_loss_is_zero_only_for_equals() -> None:
    x = pictures()
    assert picture_loss(x, x) == 0
    y = x.clone()
    y[1, 2, 5, 7] += 0.01
    assert picture_loss(y, x) > 0
    assert picture_loss(x + 0.1, x) == pytest.approx(0.1, abs=1e-5), "a shift of brightness has no edges"


def test_picture_loss_sees_blur_more_than_l1_does() -> None:
    """Of two errors with the same L1, the one that loses edges costs more."""
    x = pictures()
    blurred = F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
    shift = (blurred - x).abs().mean()
    assert picture_loss(blurred, x) > 1.5 * picture_loss(x + shift, x)


def test_gradients_by_hand() -> None:
    across, down = gradients(torch.tensor([[1.0, 3.0], [7.0, 15.0]]))
    assert across.tolist() == [[2], [8]]
    assert down.tolist() == [[6, 12]]


@given(st.integers(0, 50), st.floats(0.001, 1))
def test_psnr_against_numpy(seed: int, size: float) -> None:
    a = pictures(seed)
    b = (a + size * torch.randn(a.shape, generator=torch.Generator().manual_seed(seed))).clamp(0, 1)
    mse = ((a.double().numpy() - b.double().numpy()) ** 2).mean((1, 2, 3))
    assert float(psnr(a, b)) == pytest.approx(float(np.mean(np.minimum(60, -10 * np.log10(mse)))), abs=1e-3)


def test_psnr_is_capped() -> None:
    assert psnr(pictures(), pictures()) == pytest.approx(60)


def test_edge_ratio() -> None:
    x = pictures()
    assert edge_ratio(x, x) == 1
    assert edge_ratio(x / 2, x) == pytest.approx(0.5)
    assert edge_ratio(F.avg_pool2d(x, 3, 1, 1), x) < 0.6


def test_to_tensor_scales_and_turns() -> None:
    rgb = np.zeros((2, 4, 6, 3), np.uint8)
    rgb[1, 3, 5] = 255, 51, 0
    out = to_tensor(rgb)
    assert out.shape == (2, 3, 4, 6)
    assert out[1, :, 3, 5].tolist() == pytest.approx([1, 0.2, 0])


def test_unfinished_shards_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "stills").mkdir()
    np.save(tmp_path / "stills/0000.part.npy", np.zeros(1))
    with pytest.raises(ValueError, match="no stills in"):
        stills(tmp_path)
    np.save(tmp_path / "stills/0000.npy", np.ones((2, 4, 4, 3), np.uint8))
    assert [s.shape for s in stills(tmp_path)] == [(2, 4, 4, 3)]
