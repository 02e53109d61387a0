"""Episodes and their shards on disk: repeatable, train apart from test, changes only of light and weather."""

import json
import random
from pathlib import Path

import numpy as np
import pytest

from worldstream.worlds.procedural.episodes import TEST_SEED, Episode, draw_attributes, episode, start_camera
from worldstream.worlds.procedural.renderer import Depths, Images, eye_height
from worldstream.worlds.procedural.scene import BLEND, GRID, SIZE, WATER, Vector, scene_vector
from worldstream.worlds.training import data
from worldstream.worlds.training.data import DataConfig, Walks, render_stills, render_walks

WIDTH, HEIGHT = 16, 10
TINY = DataConfig(width_px=WIDTH, height_px=HEIGHT, frames=4, stills=6, episodes=4)


def same(a: Episode, b: Episode) -> bool:
    arrays = all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ("rgb", "depth", "path", "cameras"))
    return arrays and (a.captions, a.change_at, a.attributes) == (b.captions, b.change_at, b.attributes)


def test_a_seed_decides_everything() -> None:
    assert same(episode(5, 6, WIDTH, HEIGHT), episode(5, 6, WIDTH, HEIGHT))
    assert not same(episode(5, 6, WIDTH, HEIGHT), episode(6, 6, WIDTH, HEIGHT))


def test_shapes_and_overrides() -> None:
    path = np.zeros((3, 4), np.float32)
    attributes = draw_attributes(random.Random(1), theme=4)
    drawn = episode(9, 8, WIDTH, HEIGHT, path=path, attributes=attributes)
    assert drawn.rgb.shape == (3, HEIGHT, WIDTH, 3)
    assert drawn.depth.shape == (3, HEIGHT, WIDTH)
    assert drawn.attributes[0] is attributes
    assert episode(9, 2, WIDTH, HEIGHT, theme=7).attributes[0].theme == 7


def test_changes_touch_light_and_weather_only() -> None:
    scenes: list[Vector] = []

    def keep(vectors: Vector, cameras: Vector, width_px: int, height_px: int) -> tuple[Images, Depths]:
        scenes.append(vectors)
        return np.zeros((1, 1, 1, 3), np.uint8), np.zeros((1, 1, 1), np.float32)

    places = np.setdiff1d(np.arange(SIZE), np.arange(SIZE)[BLEND])
    changed = 0
    for seed in range(200):
        drawn = episode(seed, 32, WIDTH, HEIGHT, draw=keep)
        vectors = scenes.pop()
        assert (vectors[:, places] == vectors[0, places]).all()
        first = drawn.change_at
        assert (vectors[: first + 1, BLEND] == vectors[0, BLEND]).all()
        if first < 32:
            changed += 1
            before, after = drawn.attributes
            assert (before.theme, before.density, before.relief, before.variety) == (
                (after.theme, after.density, after.relief, after.variety)
            )
        else:
            assert drawn.captions[0] == drawn.captions[1]
    assert 8 <= changed <= 36  # a tenth


def test_walkers_start_on_land_or_on_a_street() -> None:
    rng = random.Random(3)
    for seed in range(60):
        vector = scene_vector(draw_attributes(rng), seed)
        x, z, _ = start_camera(vector, rng)
        if vector[GRID] == 0:
            assert eye_height(vector, x, z) > vector[WATER] + 1.6


def test_training_never_sees_a_test_seed() -> None:
    config = DataConfig(stills=10**7, episodes=10**7)
    assert config.first_seed + config.episodes < TEST_SEED
    assert DataConfig(test=True).first_seed == TEST_SEED
    still_seeds = (config.first_seed + config.stills // data.STILLS_PER_SHARD + 7) * 100_003
    test_seeds = (TEST_SEED + 7) * 100_003
    assert still_seeds < test_seeds


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "STILLS_PER_SHARD", 3)
    monkeypatch.setattr(data, "EPISODES_PER_SHARD", 2)


@pytest.mark.usefixtures("small_shards")
def test_shards_resume_and_are_never_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(render_stills(tmp_path, TINY)) == [3, 6]
    assert list(render_walks(tmp_path, TINY)) == [2, 4]
    stills = np.load(tmp_path / "stills" / "0001.npy")
    assert stills.shape == (3, 2 * HEIGHT, 2 * WIDTH, 3)
    whole = {path: path.read_bytes() for path in sorted(tmp_path.rglob("*")) if path.is_file()}
    assert not list(tmp_path.rglob("*part*"))

    (tmp_path / "stills" / "0001.npy").unlink()
    for path in (tmp_path / "walks" / "0001").iterdir():
        path.unlink()
    (tmp_path / "walks" / "0001").rmdir()

    def full(*_: object) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(np, "save", full)
        with pytest.raises(OSError, match="no space"):
            list(render_stills(tmp_path, TINY))
        with pytest.raises(OSError, match="no space"):
            list(render_walks(tmp_path, TINY))
    assert not (tmp_path / "stills" / "0001.npy").exists()
    assert not (tmp_path / "walks" / "0001").exists()
    assert len(Walks.open(tmp_path).meta) == 2  # a reader never meets the unfinished shard

    list(render_stills(tmp_path, TINY))
    list(render_walks(tmp_path, TINY))
    assert {path: path.read_bytes() for path in sorted(tmp_path.rglob("*")) if path.is_file()} == whole


@pytest.mark.usefixtures("small_shards")
def test_finished_shards_are_not_rendered_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    list(render_stills(tmp_path, TINY))
    list(render_walks(tmp_path, TINY))

    def never(*_: object) -> None:
        raise AssertionError("rendered again")

    monkeypatch.setattr(data, "still_batch", never)
    monkeypatch.setattr(data, "episode", never)
    assert list(render_stills(tmp_path, TINY)) == [3, 6]
    assert list(render_walks(tmp_path, TINY)) == [2, 4]


@pytest.mark.usefixtures("small_shards")
def test_walks_open_what_was_written(tmp_path: Path) -> None:
    list(render_walks(tmp_path, TINY))
    walks = Walks.open(tmp_path)
    assert [shard.shape for shard in walks.rgb] == [(2, 4, HEIGHT, WIDTH, 3)] * 2
    assert walks.paths.shape == (4, 4, 4)
    assert [row["seed"] for row in walks.meta] == [0, 1, 2, 3]
    np.testing.assert_array_equal(walks.rgb[1][0], episode(2, 4, WIDTH, HEIGHT).rgb)
    assert json.loads((tmp_path / "walks" / "0000" / "meta.json").read_text())[0]["change_at"] == 4
    with pytest.raises(ValueError, match="no walks"):
        Walks.open(tmp_path / "nowhere")
