"""Drift: a true walk drifts as far as places differ, a tint and a freeze are seen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.worlds.training.true_walker import following, latents_of, standing
from worldstream.worlds.judge import Judge
from worldstream.worlds.training.playing import Model
from worldstream.worlds.training.truth import worlds_of
from worldstream.worlds.training.wander import FIRST_WORLD, Look, Wander, details, drift, shifts, wander, wandering

FRAMES, SPAN, THEME = 80, 40, 9
NAME = f"drift over {FRAMES} frames"


@pytest.fixture(scope="module")
def true_walk(world: Model, judge: Judge) -> Wander:
    worlds = worlds_of([THEME], 1, FIRST_WORLD + THEME)
    truth = latents_of(world, worlds, [wandering(FRAMES)], FRAMES)
    return wander(world, judge, (THEME,), FRAMES, SPAN, following([truth]))


def test_the_script_goes_on_and_is_mirrored() -> None:
    path = wandering(700)
    assert path.shape == (700, 4)
    assert np.array_equal(path[300:600] * np.array([-1, 1, -1, 1]), path[:300])
    assert np.array_equal(path[600:], path[:100])


def test_a_true_walk_drifts_as_far_as_the_truth(true_walk: Wander, tmp_path: Path) -> None:
    found = drift([true_walk], tmp_path / "drift.png")
    for name, r in found.items():
        assert r.value == pytest.approx(r.ceiling, rel=1e-3, abs=1e-5), name
    assert found[f"{NAME}: frozen frames"].value == 0
    assert found[f"{NAME}: colour shift 0-40"].value > 0
    assert found[f"{NAME}: Fréchet distance 0-40"].value > 0
    assert (tmp_path / "drift.png").stat().st_size > 1000


def test_a_frozen_world_is_frozen(world: Model, judge: Judge) -> None:
    found = drift([wander(world, judge, (THEME,), FRAMES, SPAN, standing)])
    assert found[f"{NAME}: frozen frames"].value == 1


def test_a_tint_a_blur_and_a_lost_theme_are_seen(true_walk: Wander) -> None:
    d = true_walk.drawn
    late = torch.arange(d.edges.shape[1]) >= d.edges.shape[1] // 2
    other = Look(
        d.colour + 0.2 * late[None, :, None],
        d.edges * (1 - 0.7 * late),
        d.theme & ~late,
        d.features + 5 * late[:, None],
    )
    found = drift([replace(true_walk, drawn=other)])
    assert found[f"{NAME}: colour shift, worst {SPAN} frames"].value > 0.15
    assert found[f"{NAME}: sharpness, worst {SPAN} frames"].value < 0.5
    assert found[f"{NAME}: theme kept, worst {SPAN} frames"].value == 0
    growth = found[f"{NAME}: Fréchet distance, last span over first"]
    assert growth.ceiling is not None
    assert growth.value > 2 * growth.ceiling


def test_shift_and_detail_of_known_walks() -> None:
    colour = torch.tensor([0.1, 0.1, 0.3, 0.3]).view(1, 4, 1).expand(1, 4, 3)
    edges = torch.tensor([[1.0, 1.0, 3.0, 3.0]])
    look = Look(colour, edges, torch.ones(1, 4, dtype=torch.bool), torch.zeros(1, 4, 128))
    assert shifts(look, look, 2) == pytest.approx([0.1, 0.1])
    assert details(look, look, 2) == pytest.approx([0.5, 1.5])


def test_worlds_dealt_out_come_together(true_walk: Wander) -> None:
    one, two = drift([true_walk]), drift([true_walk, true_walk])
    for name in one:
        if "Fréchet" not in name:
            assert one[name].value == pytest.approx(two[name].value)


def test_broken_spans_are_named(world: Model, judge: Judge) -> None:
    with pytest.raises(ValueError, match="whole spans of 30"):
        wander(world, judge, (THEME,), 80, 30, standing)
