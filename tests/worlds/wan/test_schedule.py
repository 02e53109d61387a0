"""Noise levels against diffusers' scheduler and against the table of effective timesteps."""

from __future__ import annotations

import importlib
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from worldstream.worlds.wan.schedule import Schedule, sample_block, to_clean, to_noisy

CAUSVID = Schedule((1000, 757, 522), 8.0, warp=False)
KREA = Schedule((1000, 937, 833, 625), 5.0, warp=False)
MATRIX_GAME = Schedule((1000, 666, 333), 5.0)


@pytest.mark.parametrize(
    ("schedule", "effective"),
    [
        (Schedule(), (1000, 937.5, 833.3, 625)),
        (CAUSVID, (1000, 757, 522)),
        (KREA, (1000, 937, 833, 625)),
        (MATRIX_GAME, (1000, 908.8, 714.0)),
        (Schedule((1000, 500), first_steps=(1000, 750, 500, 250)), (1000, 833.3)),
    ],
)
def test_effective_timesteps(schedule: Schedule, effective: tuple[float, ...]) -> None:
    assert schedule.timesteps() == pytest.approx(effective, abs=0.1)


def test_a_first_block_may_have_its_own() -> None:
    schedule = Schedule((1000,), first_steps=(1000, 750, 500, 250))
    assert schedule.timesteps(first_block=True) == pytest.approx((1000, 937.5, 833.3, 625), abs=0.1)
    assert schedule.timesteps() == (1000.0,)
    assert MATRIX_GAME.timesteps(first_block=True) == MATRIX_GAME.timesteps()


@pytest.mark.parametrize("shift", [1.0, 3.0, 5.0, 8.0])
def test_the_table_is_that_of_diffusers(shift: float) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        diffusers: Any = importlib.import_module("diffusers")
    theirs = diffusers.FlowMatchEulerDiscreteScheduler(shift=shift)
    theirs.set_timesteps(sigmas=np.linspace(1, 0, 1001)[:-1])
    assert np.abs(Schedule(shift=shift).table() - theirs.sigmas[:-1].numpy()).max() < 1e-6


@given(st.floats(0.01, 1.0))
def test_to_noisy_and_back(level: float) -> None:
    g = torch.Generator().manual_seed(1)
    clean, noise = torch.randn(2, 3, 4, generator=g), torch.randn(2, 3, 4, generator=g)
    assert torch.allclose(to_clean(to_noisy(clean, noise, level), noise - clean, level), clean, atol=1e-5)


def test_a_block_from_a_network_that_knows_the_answer() -> None:
    """Whatever the noise, the velocity that points at one picture leads to it; every step gets fresh noise."""
    picture = torch.linspace(-1, 1, 24).view(1, 2, 3, 4)
    told: list[float] = []
    drawn: list[Tensor] = []
    g = torch.Generator().manual_seed(2)

    def noise() -> Tensor:
        drawn.append(torch.randn(picture.shape, generator=g))
        return drawn[-1]

    def velocity(z: Tensor, timestep: float) -> Tensor:
        told.append(timestep)
        level = Schedule().level(timestep)
        assert torch.allclose(z, to_noisy(picture, drawn[-1], level), atol=1e-5)
        return (z - picture) / level

    assert torch.allclose(sample_block(velocity, noise, Schedule()), picture, atol=1e-5)
    assert told == pytest.approx([1000, 937.5, 833.3, 625], abs=0.1)
    assert len(drawn) == 4


def test_levels_snap_to_the_table() -> None:
    assert Schedule().level(937.49) == pytest.approx(0.9375, abs=1e-4)
    assert Schedule().level(1e9) == 1.0


@pytest.mark.parametrize("steps", [(), (500, 500), (250, 500), (1001,), (1000, 0), (1000, -3)])
def test_steps_that_make_no_sense(steps: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="steps"):
        Schedule(steps)
