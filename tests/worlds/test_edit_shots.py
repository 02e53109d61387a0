"""Cuts are found, fast turns are none; the motion between frames is read with the right sign."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import pytest
from numpy.typing import NDArray

from worldstream.worlds.edit_shots import Cuts, Motion
from worldstream.worlds.judge import load_judge
from worldstream.worlds.procedural.episodes import TEST_SEED, episode
from worldstream.worlds.procedural.paths import FORWARD, YAW
from worldstream.worlds.weights import SHIPPED

FRAMES = 12


def cuts_of(film: Iterable[NDArray[np.uint8]]) -> list[int]:
    cuts = Cuts()
    return [i for i, picture in enumerate(film) if cuts.begins(picture)]


def turning(seed: int, yaw_rad: float = 0.0, forward_m: float = 0.0, theme: int = 0) -> NDArray[np.uint8]:
    path = np.zeros((FRAMES, 4), np.float32)
    path[:, YAW], path[:, FORWARD] = yaw_rad, forward_m
    return episode(TEST_SEED + seed, FRAMES, 128, 80, theme=theme, path=path, changes=False).rgb


@pytest.fixture(scope="module")
def walks() -> dict[str, NDArray[np.uint8]]:
    return {
        "left": turning(41, -math.radians(5)), "right": turning(42, math.radians(5), theme=1),
        "ahead": turning(43, 0.0, 0.4, theme=10),
    }  # fmt: skip


def test_every_cut_is_found_and_no_turn_is_one(walks: dict[str, NDArray[np.uint8]]) -> None:
    film = [*walks["left"], *walks["right"], *walks["ahead"]]
    assert cuts_of(film) == [0, FRAMES, 2 * FRAMES]


def test_a_fade_is_no_cut(walks: dict[str, NDArray[np.uint8]]) -> None:
    still = walks["left"][0].astype(float)
    assert cuts_of((still * (1 - i / 40)).astype(np.uint8) for i in range(30)) == [0]


def test_the_motion_is_read(walks: dict[str, NDArray[np.uint8]]) -> None:
    motion = Motion(load_judge(SHIPPED))
    found = {}
    for name, film in walks.items():
        motion.begin()
        actions = [motion.into(picture) for picture in film]
        assert actions[0].yaw_rad == actions[0].forward_m == 0.0
        found[name] = actions[2:]
    left, right = (float(np.mean([a.yaw_rad for a in found[name]])) for name in ("left", "right"))
    assert left == pytest.approx(-math.radians(5), rel=0.4)
    assert right == pytest.approx(math.radians(5), rel=0.4)
    assert float(np.mean([a.forward_m for a in found["ahead"]])) > 0.1
