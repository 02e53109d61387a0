"""The measuring of the drift monitor: the threshold is where it says, and two true walks are told apart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from worldstream.worlds.config import DriftConfig, WorldConfig
from worldstream.worlds.training.drift import RAISED, farthest, measure_drift, scaled, true_walk

CONFIG = DriftConfig()


def raw(walks: int = 240, frames: int = 20, size: int = 5) -> torch.Tensor:
    """Readings of walks that wander about a place of their own."""
    generator = torch.Generator().manual_seed(0)
    steps = torch.randn(walks, frames, size, generator=generator) * torch.tensor([0.1, 1.0, 10.0, 2.0, 0.5])
    return 5 * torch.randn(walks, 1, size, generator=generator) + steps.cumsum(1)


def test_one_is_what_the_stated_share_of_true_walks_reaches() -> None:
    whitening, most = scaled(raw(), CONFIG)
    assert float((most > 1.0).float().mean()) == pytest.approx(RAISED, abs=0.01)
    torch.testing.assert_close(farthest(raw()[12:24] @ whitening, CONFIG), most[:12], rtol=1e-4, atol=1e-5)


def test_units_of_a_reading_do_not_matter() -> None:
    first = scaled(raw(), CONFIG)[1]
    second = scaled(raw() * torch.tensor([100.0, 1.0, 0.01, 7.0, 3.0]), CONFIG)[1]
    torch.testing.assert_close(first, second, rtol=1e-2, atol=1e-2)


def test_true_walks_are_rendered_every_few_frames() -> None:
    config = WorldConfig()
    sparse = true_walk(3, config, 17)
    whole = true_walk(3, replace(config, drift=replace(config.drift, every=1)), 17)
    assert sparse.shape == (3, 3, 80, 128)
    torch.testing.assert_close(sparse, whole[::8])


def test_a_folder_without_a_world_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no world in"):
        measure_drift(tmp_path)
