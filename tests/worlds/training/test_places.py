"""Loop closure: the truth closes every loop, a frozen world only the last step, a forgetful one none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.worlds.training.true_walker import following, latents_of, standing
from worldstream.worlds.training import places
from worldstream.worlds.training.likeness import Readings
from worldstream.worlds.training.places import FIRST_WORLD, LOOPS, STILL, loop_closure, out_and_back, turn
from worldstream.worlds.training.playing import Model
from worldstream.worlds.training.truth import WalkBatch, worlds_of

THEMES = (9,)
RETURN, GAIN = "PSNR of the start view on return", "gain of memory"
WAY = "PSNR of the way back, what the start view showed"
OWN = "PSNR of the way back against the own first visit"


@pytest.fixture(scope="module")
def truth(world: Model) -> list[Tensor]:
    return [latents_of(world, worlds_of(THEMES, 1, FIRST_WORLD), [made().path], len(made().path)) for made in LOOPS]


def names() -> list[str]:
    return [made().name for made in LOOPS]


def measured(world: Model, walk: WalkBatch, sheet: Path | None = None) -> Readings:
    return loop_closure(world, THEMES, 1, sheet, walk)


def test_pairs_of_frames_stand_at_the_same_pose() -> None:
    for made in (turn, out_and_back):
        loop = made()
        pose = loop.path.cumsum(0)
        pose[:, 2] %= 2 * torch.pi
        for later, earlier in loop.again:
            away = abs(pose[later] - pose[earlier])
            away[2] = min(away[2], 2 * torch.pi - away[2])
            assert away.max() < 1e-4
        assert loop.again[0][1] == STILL - 1
        assert max(later for later, _ in loop.again) == len(loop.path) - 1
    assert abs(out_and_back().path[:, 1]).sum() == pytest.approx(2 * 10.24, abs=1e-3)


def test_the_truth_is_the_ceiling_and_its_own_first_visit(world: Model, truth: list[Tensor], tmp_path: Path) -> None:
    found = measured(world, following(truth), tmp_path / "loop.png")
    for name in names():
        for key in (RETURN, WAY):
            r = found[f"{name}: {key}"]
            assert r.value == pytest.approx(r.ceiling, abs=0.2)
            assert r.memory_off == r.value
        assert found[f"{name}: {OWN}"].value > 38
        assert found[f"{name}: {GAIN}"].value == 0
        assert found[f"{name}: sharpness of the way back"].value == pytest.approx(1.0, abs=0.02)
        assert found[f"{name}: PSNR of another true view, 45° or 10 m away"].value < 20
    assert (tmp_path / "loop.png").stat().st_size > 1000


def test_a_frozen_world_closes_the_loop_and_fails_on_the_way(world: Model) -> None:
    found = measured(world, standing)
    for name in names():
        back, way, own = (found[f"{name}: {key}"] for key in (RETURN, WAY, OWN))
        assert back.value == pytest.approx(back.ceiling, abs=0.2)
        assert way.ceiling is not None
        assert way.copy_last is not None
        assert way.value < way.ceiling - 5
        assert way.value == pytest.approx(way.copy_last, abs=1.0)
        assert own.value > 40, "frozen, it agrees with itself: this figure alone proves nothing"


def test_the_gain_is_what_is_lost_without_memory(
    world: Model, truth: list[Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    forgetful = replace(world, steps=(0.5,))
    monkeypatch.setattr(places, "without_memory", lambda _: forgetful)
    remembering = following(truth)

    def walk(m: Model, history: Tensor | None, actions: Tensor, words: Tensor, generator: torch.Generator) -> Tensor:
        drawn = remembering(m, history, actions, words, generator).clone()
        if m is forgetful:  # from half-way on, another place: the same one upside down
            drawn[:, drawn.shape[1] // 2 :] = drawn[:, drawn.shape[1] // 2 :].flip(3)
        return drawn

    found = measured(world, walk)
    for name in names():
        back = found[f"{name}: {RETURN}"]
        assert back.memory_off is not None
        assert found[f"{name}: {GAIN}"].value == pytest.approx(back.value - back.memory_off)
        assert found[f"{name}: {GAIN}"].value > 8
        assert found[f"{name}: gain of memory against the own first visit"].value > 8
