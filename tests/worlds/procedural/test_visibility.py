"""What an earlier frame showed: held against frustums and shadows that can be worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from worldstream.worlds.procedural.attributes import Attributes
from worldstream.worlds.procedural.episodes import TEST_SEED, episode
from worldstream.worlds.procedural.paths import FORWARD, YAW
from worldstream.worlds.procedural.renderer import FOV_X_RAD, camera_rows
from worldstream.worlds.procedural.shading import REACH_M
from worldstream.worlds.procedural.visibility import axes, rays, seen_before

ROWS, COLUMNS = 40, 64
Numbers = NDArray[np.float64]


def camera(x: float = 0.0, yaw: float = 0.0, pitch: float = 0.0) -> Numbers:
    return np.array([x, 0.0, 0.0, yaw, pitch])


def shown_after_turn(yaw: float) -> NDArray[np.bool_]:
    """By plane trigonometry: which pixels of a level camera were inside the frame before a turn to the right."""
    direction = rays(ROWS, COLUMNS)
    azimuth = np.arctan2(direction[..., 0], direction[..., 2]) + yaw
    slope = direction[..., 1] / np.hypot(direction[..., 0], direction[..., 2])  # unchanged by a turn
    _, tan_y = camera_rows(ROWS, COLUMNS)
    in_view: NDArray[np.bool_] = (np.abs(azimuth) <= FOV_X_RAD / 2) & (np.abs(slope) <= tan_y * np.cos(azimuth))
    return in_view


@pytest.mark.parametrize("distance", [7.0, REACH_M])
@pytest.mark.parametrize("yaw", [0.0, 0.3, -0.8, 1.2, math.pi / 2])
def test_after_a_turn_the_old_frame_is_a_known_part_of_the_new_one(yaw: float, distance: float) -> None:
    depth = np.full((ROWS, COLUMNS), distance, np.float32)  # all on a sphere about the eye, or all sky
    seen = seen_before(depth, camera(yaw=yaw), depth[None], camera()[None])
    assert (seen == shown_after_turn(yaw)).mean() > 0.995


def test_a_turn_in_a_rendered_world_shows_what_geometry_says() -> None:
    path = np.zeros((9, 4), np.float32)
    path[1:, YAW] = 0.1
    attributes = Attributes(0, 2, 0, 0, 0.6, 0.5, 0.5)
    e = episode(TEST_SEED + 3, 9, COLUMNS, ROWS, path=path, attributes=attributes, changes=False)
    for k in (2, 5, 8):
        seen = seen_before(e.depth[k], e.cameras[k], e.depth[:1], e.cameras[:1])
        assert (seen == shown_after_turn(0.1 * k)).mean() > 0.98
    assert seen_before(e.depth[0], e.cameras[0], e.depth[:1], e.cameras[:1]).all()


def test_a_step_back_in_a_rendered_world_shows_the_rim_and_keeps_the_middle() -> None:
    path = np.zeros((2, 4), np.float32)
    path[1, FORWARD] = -0.4
    attributes = Attributes(1, 2, 0, 0, 0.2, 0.3, 0.5)
    e = episode(TEST_SEED + 4, 2, COLUMNS, ROWS, path=path, attributes=attributes, changes=False)
    seen = seen_before(e.depth[1], e.cameras[1], e.depth[:1], e.cameras[:1])
    assert seen[:30, 6:-6].mean() > 0.97
    assert not seen[-1].any(), "the ground at the feet was below the old frame"


def wall_and_pillar(x_m: float) -> tuple[NDArray[np.float32], Numbers]:
    """Depth of a wall at z = 10 m behind a pillar at z = 3 m, half a metre to each side of x = 0, from (x_m, 0, 0);
    and where each ray meets the wall (NaN on the pillar)."""
    d = rays(ROWS, COLUMNS)
    on_pillar = np.abs(x_m + 3.0 * d[..., 0] / d[..., 2]) < 0.5
    wall_x = np.where(on_pillar, np.nan, x_m + 10.0 * d[..., 0] / d[..., 2])
    return (np.where(on_pillar, 3.0, 10.0) / d[..., 2]).astype(np.float32), wall_x


def test_what_a_pillar_hid_is_new() -> None:
    before, _ = wall_and_pillar(0.0)
    after, wall_x = wall_and_pillar(1.5)
    seen = seen_before(after, camera(x=1.5), before[None], camera()[None])
    hidden = np.abs(wall_x) < 10 / 3 * 0.5  # in the pillar's shadow from the old eye
    beyond = wall_x > 10 * math.tan(FOV_X_RAD / 2)
    assert hidden.any()
    assert beyond.any()
    expected = ~hidden & ~beyond
    wrong = seen != expected
    assert wrong.mean() < 0.04, "a column or two at the edges of pillar and shadow"
    edge = np.minimum(np.abs(np.abs(wall_x) - 10 / 6), np.abs(wall_x - 10 * math.tan(FOV_X_RAD / 2)))
    assert not (wrong & (edge > 0.6)).any(), "and none elsewhere: a pixel of the wall is 0.25 m wide"
    more = seen_before(after, camera(x=1.5), np.stack([before, after]), np.stack([camera(), camera(x=1.5)]))
    assert more.all(), "an earlier frame from the same place has seen it all"


def test_sky_is_not_a_distance() -> None:
    sky, wall = (np.full((ROWS, COLUMNS), d, np.float32) for d in (REACH_M, 9.0))
    far_away = np.array([50.0, 3.0, -20.0, 0.0, 0.0])
    assert seen_before(sky, far_away, sky[None], camera()[None]).all()
    assert not seen_before(sky, camera(), wall[None], camera()[None]).any()
    assert not seen_before(wall, camera(), sky[None], camera()[None]).any()


def test_axes_are_the_renderers() -> None:
    right, up, ahead = axes(camera(yaw=0.4, pitch=0.2))
    assert ahead == pytest.approx([math.cos(0.2) * math.sin(0.4), math.sin(0.2), math.cos(0.2) * math.cos(0.4)])
    assert np.cross(up, ahead) == pytest.approx(right)


def test_sizes_that_do_not_agree_are_named() -> None:
    depth = np.ones((ROWS, COLUMNS), np.float32)
    with pytest.raises(ValueError, match="2 cameras"):
        seen_before(depth, camera(), depth[None], np.stack([camera(), camera()]))
