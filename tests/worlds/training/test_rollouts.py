"""Free rollouts: the truth reaches the ceiling everywhere, a still world scores what copying scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.worlds.training.true_walker import following, latents_of, model, standing
from worldstream.worlds.judge import Judge, load_judge
from worldstream.worlds.training.data import DataConfig, render_walks
from worldstream.worlds.training.likeness import Readings
from worldstream.worlds.training.playing import Model
from worldstream.worlds.training.rollouts import CLIP, FIRST_WORLD, masks, other_walks, pearson, rollouts
from worldstream.worlds.training.truth import WalkBatch, true_walks, worlds_of
from worldstream.worlds.weights import SHIPPED

THEMES, LENGTHS = (1, 9), (4, 2 * CLIP)


@pytest.fixture(scope="module")
def judge() -> Judge:
    return load_judge(SHIPPED)


@pytest.fixture(scope="module")
def world() -> Model:
    return model()


@pytest.fixture(scope="module")
def test_walks(tmp_path_factory: pytest.TempPathFactory, world: Model) -> Path:
    folder = tmp_path_factory.mktemp("test")
    size = world.config.width_px // 2, world.config.height_px // 2
    assert list(render_walks(folder, DataConfig(*size, frames=max(LENGTHS), episodes=32, test=True))) == [32]
    return folder


def measured(world: Model, judge: Judge, test: Path, walk: WalkBatch) -> Readings:
    return rollouts(world, judge, test, THEMES, 1, LENGTHS, walk)


def test_the_truth_reaches_every_ceiling(world: Model, judge: Judge, test_walks: Path) -> None:
    truth = latents_of(world, worlds_of(THEMES, 1, FIRST_WORLD), None, max(LENGTHS))
    found = measured(world, judge, test_walks, following([truth]))
    assert {n for n in found if n.startswith("rollout of 4, ")} >= {
        f"rollout of 4, {where}: {what}"
        for where in ("seen", "seen in the history", "whole frame")
        for what in ("PSNR", "SSIM", "sharpness")
    }
    for name, r in found.items():
        if r.ceiling is not None and r.value == r.value:
            assert r.value == pytest.approx(r.ceiling, rel=1e-3), name
    assert found["rollout of 4, whole frame: PSNR"].value > 24
    assert found["clips of 16 frames: clips"].value == 4


def test_a_still_world_scores_what_copying_scores(world: Model, judge: Judge, test_walks: Path) -> None:
    found = measured(world, judge, test_walks, standing)
    far = found[f"rollout of {max(LENGTHS)}, whole frame: PSNR"]
    assert far.copy_last is not None
    assert far.value == pytest.approx(far.copy_last, abs=1.5)
    assert all(abs(r.value) < 0.3 for n, r in found.items() if n.startswith("correlation"))


def test_what_the_history_showed_is_part_of_what_was_seen(world: Model) -> None:
    frames = 12
    walks = true_walks(world, worlds_of(THEMES, 1, FIRST_WORLD), None, frames, range(frames))
    moments = (0, frames - 1)
    ever, history = (masks(walks, moments, history_only=only) for only in (False, True))
    assert bool((history <= ever).all())
    assert torch.equal(ever[:, 0], history[:, 0]), "before the first frame there is only the history"
    assert float(ever.float().mean()) > float(history.float().mean()) > 0.2

    still = [np.zeros((3, 4), np.float32)] * 2
    rest = true_walks(world, worlds_of(THEMES, 1, FIRST_WORLD), still, 3, range(3))
    assert bool(masks(rest, (2,), history_only=True).all())


def test_other_walks_are_of_the_themes_and_of_their_light(world: Model, test_walks: Path) -> None:
    found: Tensor = other_walks(test_walks, THEMES, 1, 8)
    assert 1 <= len(found) <= 2
    assert found.shape[1:3] == (8, 3)


def test_correlation_of_what_never_changes_is_nothing() -> None:
    x = np.arange(5, dtype=np.float32)
    assert pearson(x, 2 * x + 1) == pytest.approx(1.0)
    assert pearson(x, -x) == pytest.approx(-1.0)
    assert pearson(x, np.ones(5, np.float32)) == 0.0
