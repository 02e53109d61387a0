"""Pictures: the same every time, true to the geometry, never empty, and true to the motion that was commanded."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from worldstream.worlds.core import Action, Camera
from worldstream.worlds.procedural import scene
from worldstream.worlds.procedural.attributes import MOODS, THEMES, TIMES, WEATHERS, Attributes
from worldstream.worlds.procedural.episodes import cameras_along
from worldstream.worlds.procedural.paths import FORWARD, PITCH, RIGHT, YAW, walk
from worldstream.worlds.procedural.renderer import camera_rows, eye_height, render
from worldstream.worlds.procedural.scene import Vector, scene_vector
from worldstream.worlds.procedural.shading import REACH_M

WIDTH, HEIGHT = 48, 30  # one size and one type, so that the kernel is compiled once
GOLDEN = Path(__file__).with_name("golden.json")


def world(
    theme: str = "forest", time: str = "noon", weather: str = "clear", mood: str = "vivid", relief: float = 0.5
) -> Vector:
    attributes = Attributes(
        THEMES.index(theme), TIMES.index(time), WEATHERS.index(weather), MOODS.index(mood), 0.5, relief, 0.5
    )
    return scene_vector(attributes, 20)


def eyes(vector: Vector, count: int = 4) -> NDArray[np.float64]:
    """Cameras in a ring of ten metres, each looking along it, a little up and down."""
    rows = []
    for i in range(count):
        turn = 2 * math.pi * i / count
        x, z = 10 * math.cos(turn) + 3.3, 10 * math.sin(turn) + 3.3
        rows.append((x, eye_height(vector, x, z), z, turn, 0.1 * math.sin(3 * turn)))
    return np.array(rows)


def view_rays(camera: NDArray[np.float64], centre: float = 0.5) -> NDArray[np.float64]:
    """[H, W, 3] unit directions of a camera's pixels, by rotation matrices, apart from the kernel's own formula."""
    tan_x, tan_y = camera_rows(HEIGHT, WIDTH)
    u = (2 * (np.arange(WIDTH) + centre) / WIDTH - 1) * tan_x
    v = (1 - 2 * (np.arange(HEIGHT) + centre) / HEIGHT) * tan_y
    rays = np.stack([*np.meshgrid(u, v), np.ones((HEIGHT, WIDTH))], -1)
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    rotated: NDArray[np.float64] = rays @ rotation(camera).T
    return rotated


def rotation(camera: NDArray[np.float64]) -> NDArray[np.float64]:
    """Camera axes (right, up, forward) to world axes: pitch first, then yaw."""
    sy, cy, sp, cp = math.sin(camera[3]), math.cos(camera[3]), math.sin(camera[4]), math.cos(camera[4])
    pitch = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    yaw = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    product: NDArray[np.float64] = yaw @ pitch
    return product


def test_the_same_arguments_give_the_same_picture() -> None:
    vector = world("alien planet")
    first, again = render(vector, eyes(vector), WIDTH, HEIGHT), render(vector, eyes(vector), WIDTH, HEIGHT)
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    alone = render(vector, eyes(vector)[2:3], WIDTH, HEIGHT)
    np.testing.assert_array_equal(alone[0][0], first[0][2])


@pytest.mark.parametrize("theme", THEMES)
def test_pictures_stay_as_they_are(theme: str) -> None:
    """Mean colours of a 6x5 grid over a picture. Models are trained on these: change golden.json only for pictures that
    are nearer to the true surface than before (as when the march stopped running out of steps along canyon walls)."""
    golden = json.loads(GOLDEN.read_text())[theme]
    vector = world(theme, TIMES[THEMES.index(theme) % 6], WEATHERS[THEMES.index(theme) % 6])
    rgb, depth = render(vector, eyes(vector, 1), WIDTH, HEIGHT)
    blocks = rgb[0].reshape(5, HEIGHT // 5, 6, WIDTH // 6, 3).mean((1, 3))
    assert np.abs(blocks - np.array(golden["rgb"])).max() < 0.6
    assert float(depth.mean()) == pytest.approx(golden["depth"], rel=1e-3)
    assert float(vector.sum()) == pytest.approx(golden["scene"], rel=1e-9)


def test_flat_ground_is_a_plane() -> None:
    vector = world("suburban town")
    vector[scene.DENSITY] = 0.0  # nothing stands on it
    cameras = eyes(vector)
    _, depth = render(vector, cameras, WIDTH, HEIGHT, smooth=False)
    for camera, picture in zip(cameras, depth, strict=True):
        down = view_rays(camera)[..., 1]
        expected = np.where(down < -1e-6, -camera[1] / np.minimum(down, -1e-6), REACH_M)
        np.testing.assert_allclose(picture, np.minimum(expected, REACH_M), rtol=1e-4)


def test_smoothing_only_touches_edges() -> None:
    vector = world("neon city")
    plain, _ = render(vector, eyes(vector), WIDTH, HEIGHT, smooth=False)
    smooth, _ = render(vector, eyes(vector), WIDTH, HEIGHT)
    difference = np.abs(plain.astype(int) - smooth).max(-1)
    assert 0 < (difference > 8).mean() < 0.5


def looks() -> list[tuple[str, str, str, str]]:
    """Every theme, time, weather and mood at least once."""
    found = [(theme, "noon", "clear", "vivid") for theme in THEMES]
    found += [("forest", time, "clear", "muted") for time in TIMES]
    found += [("desert", "morning", weather, "warm") for weather in WEATHERS]
    return found + [("snowy pines", "dusk", "cloudy", mood) for mood in MOODS]


def test_every_look_has_contrast_and_differs_from_the_others() -> None:
    pictures = {}
    for look in looks():
        vector = world(*look)
        pictures[look] = render(vector, eyes(vector), WIDTH, HEIGHT)[0].astype(float)
    for look, rgb in pictures.items():
        assert 12 < rgb.mean() < 235, look
        assert rgb.std() > 8, look
        for other, other_rgb in pictures.items():
            if other != look:
                assert np.abs(rgb - other_rgb).mean() > 1.5, (look, other)


@pytest.mark.parametrize("theme", ["canyon", "ocean cliffs"])
def test_cliffs_are_seen(theme: str) -> None:
    """Beside a cliff the depth of neighbouring pixels leaps by metres, without any object."""
    vector = world(theme, relief=1.0)
    vector[scene.DENSITY] = 0.0
    cameras = eyes(vector, 12)
    _, depth = render(vector, cameras, WIDTH, HEIGHT)
    leaps = (depth.min((1, 2)) < REACH_M) & ((np.abs(np.diff(np.minimum(depth, 100), axis=1)) > 8).mean((1, 2)) > 0.005)
    assert leaps.sum() >= 6


@pytest.mark.parametrize(
    ("cameras", "match"),
    [(np.zeros((2, 4)), "must be"), (np.zeros(5), "must be"), (np.full((1, 5), np.nan), "finite")],
)
def test_bad_cameras_are_refused(cameras: NDArray[np.float64], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        render(world(), cameras, WIDTH, HEIGHT)


def test_commanded_motion_is_real_motion() -> None:
    vector = world("tropical island")
    for seed in range(20):
        path = walk(np.random.default_rng(seed), 40)
        cameras = cameras_along(vector, path, (3.0, -4.0, 0.7))
        camera = Camera(3.0, 0.0, -4.0, 0.7, 0.0)
        for i, row in enumerate(path):
            if i:
                right, forward, yaw, pitch = (float(row[column]) for column in (RIGHT, FORWARD, YAW, PITCH))
                camera = camera.moved(Action(right_m=right, forward_m=forward, yaw_rad=yaw, pitch_rad=pitch))
            expected = (camera.x_m, camera.z_m, camera.yaw_rad, camera.pitch_rad)
            np.testing.assert_allclose(cameras[i, [0, 2, 3, 4]], expected, atol=1e-9)
            assert cameras[i, 1] == pytest.approx(eye_height(vector, cameras[i, 0], cameras[i, 2]))


@pytest.mark.parametrize("theme", ["forest", "moonlit ruins", "alien planet"])
def test_the_next_frame_is_the_last_one_seen_from_the_commanded_pose(theme: str) -> None:
    """Points of frame t, at their true depth, moved into frame t + 1: what is still in view lies at the same distance
    and has the same colour."""
    vector = world(theme)
    path = np.zeros((2, 4), np.float32)
    path[1] = 0.15, 0.4, 0.05, 0.02
    cameras = cameras_along(vector, path, (3.3, 3.3, 0.4))
    rgb, depth = render(vector, cameras, WIDTH, HEIGHT, smooth=False)
    points = cameras[0, :3] + depth[0][..., None] * view_rays(cameras[0])
    local = (points - cameras[1, :3]) @ rotation(cameras[1])
    tan_x, tan_y = camera_rows(HEIGHT, WIDTH)
    column = (local[..., 0] / local[..., 2] / tan_x + 1) / 2 * WIDTH - 0.5
    row = (1 - local[..., 1] / local[..., 2] / tan_y) / 2 * HEIGHT - 0.5
    j, i = np.rint(column).astype(int), np.rint(row).astype(int)
    seen = (local[..., 2] > 0) & (j >= 1) & (j < WIDTH - 1) & (i >= 1) & (i < HEIGHT - 1)
    seen &= (depth[0] > 6) & (depth[0] < 40)  # nearer objects shrink as the eye comes, by design; farther is haze
    there, distance = depth[1][i[seen], j[seen]], np.linalg.norm(local[seen], axis=-1)
    same = np.abs(there - distance) < 0.12 * distance
    assert seen.sum() > 80
    assert same.mean() > 0.75  # the rest lies at silhouettes
    colour = np.abs(rgb[0][seen].astype(int) - rgb[1][i[seen], j[seen]]).mean(-1)[same]
    assert np.median(colour) < 8
    still = np.abs(depth[1][seen] - distance) < 0.12 * distance  # without the motion the points do not match so well
    assert same.mean() > still.mean() + 0.03
