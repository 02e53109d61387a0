"""The few-step loop: exact with an oracle, one pass a level, and Euler against its closed form."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from worldstream.worlds.config import STEPS_2, STEPS_4, STEPS_8
from worldstream.worlds.sampler import draw_noise, euler, noisy, resample, sample

LEVEL = st.floats(0.01, 1.0)


class Oracle:
    """Predicts the truth, and remembers what it was asked."""

    def __init__(self, clean: Tensor) -> None:
        self.clean = clean
        self.asked: list[tuple[Tensor, float]] = []

    def __call__(self, z: Tensor, sigma: float) -> tuple[Tensor, Tensor, Tensor]:
        self.asked.append((z, sigma))
        count = torch.tensor(float(len(self.asked)))
        return self.clean, count, -count


@pytest.mark.parametrize("steps", [STEPS_8, STEPS_4, STEPS_2, (1.0,)])
def test_an_oracle_is_followed_in_one_pass_a_level(steps: tuple[float, ...]) -> None:
    g = torch.Generator().manual_seed(1)
    clean, noise = torch.randn(2, 5, generator=g), torch.randn(2, 5, generator=g)
    oracle = Oracle(clean)
    drawn, keys, values = sample(oracle, noise, steps)
    assert torch.equal(drawn, clean)
    assert [sigma for _, sigma in oracle.asked] == list(steps), "no pass is wasted"
    assert (float(keys), float(values)) == (len(steps), -len(steps)), "keys and values are those of the last pass"
    for z, sigma in oracle.asked:
        torch.testing.assert_close(z, noisy(clean, noise, torch.tensor(sigma)))


@pytest.mark.parametrize(
    "steps",
    [
        (),
        (0.9, 0.5),
        (1.0, 0.5, 0.5),
        (1.0, 0.5, 0.7),
        (1.0, 0.0),
        (1.0, -0.5),
        (1.0, math.nan),
        (math.nan,),
        (2.0, 1.0),
    ],
)
def test_bad_steps_are_named(steps: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=r"steps must fall from 1.0") as caught:
        sample(Oracle(torch.zeros(1)), torch.zeros(1), steps)
    assert str(caught.value).endswith(f"got {steps}")


@given(LEVEL, LEVEL, st.floats(-3, 3), st.floats(-3, 3))
def test_euler_stays_on_the_line(sigma: float, to: float, clean: float, noise: float) -> None:
    c, n = torch.tensor([clean], dtype=torch.float64), torch.tensor([noise], dtype=torch.float64)
    z = (1 - sigma) * c + sigma * n
    torch.testing.assert_close(euler(z, c, sigma, to), (1 - to) * c + to * n, rtol=0, atol=1e-9)


@given(LEVEL, LEVEL, st.floats(-3, 3), st.floats(-3, 3))
def test_euler_closed_form(sigma: float, to: float, z: float, clean: float) -> None:
    """One step is z + (to - sigma) * velocity, with the velocity (z - clean) / sigma of the straight path."""
    moved = euler(torch.tensor([z], dtype=torch.float64), torch.tensor([clean], dtype=torch.float64), sigma, to)
    assert float(moved) == pytest.approx(z + (to - sigma) * (z - clean) / sigma, abs=1e-9)


def test_noisy_broadcasts_over_pictures() -> None:
    clean, noise = torch.ones(2, 3, 4, 5, 6), -torch.ones(2, 3, 4, 5, 6)
    sigma = torch.tensor([[0, 0.5, 1], [1, 0.25, 0]])
    assert torch.equal(noisy(clean, noise, sigma)[:, :, 0, 0, 0], 1 - 2 * sigma)


def test_noise_is_decided_by_its_generator() -> None:
    a, b, c = (draw_noise((2, 3), torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    many = draw_noise((100_000,), torch.Generator().manual_seed(0))
    assert abs(float(many.mean())) < 0.02
    assert abs(float(many.std()) - 1) < 0.02


@pytest.mark.parametrize(
    ("level", "asked"), [(1.0, [1.0, 0.6, 0.3]), (0.6, [0.6, 0.3]), (0.5, [0.5, 0.3]), (0.1, [0.1])]
)
def test_drawing_again_begins_at_its_level_and_goes_through_the_steps_below(level: float, asked: list[float]) -> None:
    g = torch.Generator().manual_seed(2)
    before, after, noise = (torch.randn(2, 5, generator=g) for _ in range(3))
    oracle = Oracle(after)
    drawn, keys, values = resample(oracle, before, noise, (1.0, 0.6, 0.3), level)
    assert torch.equal(drawn, after)
    assert [sigma for _, sigma in oracle.asked] == asked
    assert (float(keys), float(values)) == (len(asked), -len(asked))
    torch.testing.assert_close(oracle.asked[0][0], noisy(before, noise, torch.tensor(level)))


def test_drawing_again_from_pure_noise_is_drawing() -> None:
    g = torch.Generator().manual_seed(3)
    before, noise = torch.randn(2, 5, generator=g), torch.randn(2, 5, generator=g)

    def denoise(z: Tensor, sigma: float) -> tuple[Tensor, Tensor, Tensor]:
        return torch.tanh(z) * (1 - 0.5 * sigma), z, -z

    for ours, theirs in zip(
        resample(denoise, before, noise, STEPS_4, 1.0), sample(denoise, noise, STEPS_4), strict=True
    ):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("level", [0.0, -0.1, 1.1, math.nan])
def test_a_level_that_is_none_is_named(level: float) -> None:
    with pytest.raises(ValueError, match="the level to draw from"):
        resample(Oracle(torch.zeros(1)), torch.zeros(1), torch.zeros(1), STEPS_4, level)
