"""Free rollouts: the truth reaches the ceiling everywhere, a still world scores what copying scores."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.worlds.training.true_walker import following, latents_of, standing
from worldstream.worlds.judge import Judge
from worldstream.worlds.training.likeness import Readings
from worldstream.worlds.training.playing import Model
from worldstream.worlds.training.rollouts import CLIP, FIRST_WORLD, masks, pearson, rollouts
from worldstream.worlds.training.truth import WalkBatch, true_walks, worlds_of

THEMES, LENGTHS = (1, 9), (4, 2 * CLIP)


def measured(world: Model, judge: Judge, walk: WalkBatch) -> Readings:
    return rollouts(world, judge, THEMES, 1, LENGTHS, walk)


def test_the_truth_reaches_every_ceiling(world: Model, judge: Judge) -> None:
    truth = latents_of(world, worlds_of(THEMES, 1, FIRST_WORLD), None, max(LENGTHS))
    found = measured(world, judge, following([truth]))
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


def test_a_still_world_scores_what_copying_scores(world: Model, judge: Judge) -> None:
    found = measured(world, judge, standing)
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


def test_correlation_of_what_never_changes_is_nothing() -> None:
    x = np.arange(5, dtype=np.float32)
    assert pearson(x, 2 * x + 1) == pytest.approx(1.0)
    assert pearson(x, -x) == pytest.approx(-1.0)
    assert pearson(x, np.ones(5, np.float32)) == 0.0
