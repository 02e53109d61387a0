"""What a turn reveals: warps are the renderer's own, the truth scores one, blur and repetition are seen."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.worlds.training.true_walker import following, latents_of, standing
from worldstream.worlds.judge import Judge
from worldstream.worlds.procedural.episodes import TEST_SEED, episode
from worldstream.worlds.procedural.paths import YAW
from worldstream.worlds.training.likeness import each_psnr
from worldstream.worlds.training.playing import Model
from worldstream.worlds.training.reveal import (
    FIRST_WORLD,
    FRAMES,
    MOMENTS,
    NEW,
    TURN_RAD,
    disagreement,
    halves,
    revealed,
    turned,
)  # fmt: skip
from worldstream.worlds.training.tokenizer import to_tensor
from worldstream.worlds.training.truth import worlds_of

THEMES = (0, 9)
NAME = "90° turn, what it reveals"
SHARP, FAR = f"{NAME}: sharpness", f"{NAME}: Fréchet distance, share of reconstructions'"
GEOMETRY = "geometry of turns: disagreement of overlapping frames, share of the ceiling"


def turns(world: Model, themes: tuple[int, ...]) -> Tensor:
    """True turns in two worlds a theme, right and left."""
    worlds = worlds_of(themes, 2, FIRST_WORLD)
    paths = [np.zeros((FRAMES, 4), np.float32) for _ in worlds]
    for i, path in enumerate(paths):
        path[:, YAW] = TURN_RAD if i % 2 == 0 else -TURN_RAD
    return latents_of(world, worlds, paths, FRAMES)


@pytest.fixture(scope="module")
def truth(world: Model) -> Tensor:
    return turns(world, THEMES)


@pytest.mark.parametrize("degrees", [12.0, -24.0])
def test_a_turned_picture_is_the_one_that_the_renderer_draws(degrees: float) -> None:
    path = np.zeros((2, 4), np.float32)
    path[1, YAW] = math.radians(degrees)
    pair = to_tensor(episode(TEST_SEED + 8, 2, 128, 80, theme=1, path=path, changes=False).rgb)
    moved, known = turned(pair[:1], math.radians(degrees))
    right = each_psnr(moved, pair[1:], known[None])
    assert right > each_psnr(pair[:1], pair[1:], known[None]) + 6
    assert right > each_psnr(turned(pair[:1], -math.radians(degrees))[0], pair[1:], known[None]) + 6
    assert float(known.float().mean()) == pytest.approx(1 - abs(degrees) / 78, abs=0.08)


def test_the_new_moments_are_past_the_first_view() -> None:
    half_view = math.radians(39.0)
    assert all(TURN_RAD * (MOMENTS[i] + 1) > half_view for i in NEW)
    assert math.degrees(TURN_RAD * (MOMENTS[-1] + 1)) == pytest.approx(90)


def test_the_half_on_the_side_turned_to_is_taken() -> None:
    ramp = torch.arange(8.0).expand(2, 1, 3, 4, 8)
    right, left = halves(ramp, (1.0, -1.0))
    assert right.min() == 4
    assert left.max() == 3


def test_the_truth_scores_one(world: Model, judge: Judge, truth: Tensor) -> None:
    found = revealed(world, judge, THEMES, 2, following([truth]))
    for name in (SHARP, FAR, GEOMETRY):
        assert found[name].value == pytest.approx(1.0, abs=1e-3)
    assert found[f"{NAME}: crops on each side"].value == 12


def test_blur_is_seen_as_blur(world: Model, judge: Judge) -> None:
    everywhere = tuple(range(12))  # in a dozen crops the chances of place outweigh a blur; in six dozen they do not

    def blurred(latents: Tensor) -> Tensor:
        flat = latents.flatten(0, 1)
        return F.avg_pool2d(F.pad(flat, (2, 2, 2, 2), mode="replicate"), 5, 1).unflatten(0, latents.shape[:2])

    found = revealed(world, judge, everywhere, 2, following([turns(world, everywhere)], blurred))
    assert found[SHARP].value < 0.6
    assert found[FAR].value > 2


def test_a_world_that_stands_still_disagrees_with_its_turn(world: Model, judge: Judge, truth: Tensor) -> None:
    found = revealed(world, judge, THEMES, 2, standing)
    assert found[GEOMETRY].value > 2
    still = torch.rand(1, 1, 3, 40, 64, generator=torch.Generator().manual_seed(0)).repeat(1, 3, 1, 1, 1)
    assert disagreement(still, (1.0,), warp=False) == 0
    assert disagreement(still, (1.0,)) > 0.1
