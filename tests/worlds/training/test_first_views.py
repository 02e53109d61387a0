"""First views: of training worlds alone, the same again, told in other words every time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.worlds.tiny_world import WORLD, autoencoder
from worldstream.worlds.conditioning import word_ids
from worldstream.worlds.procedural.attributes import THEMES, TIMES, WEATHERS
from worldstream.worlds.procedural.captions import parse
from worldstream.worlds.procedural.episodes import TEST_SEED
from worldstream.worlds.training import first_views
from worldstream.worlds.training.first_views import FIRST_SEED, VIEWS_PER_SHARD, Views, first_view, render_views


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_views, "VIEWS_PER_SHARD", 8)


def test_a_thousand_shards_stay_below_the_worlds_of_evaluation() -> None:
    assert FIRST_SEED + 1000 * VIEWS_PER_SHARD < TEST_SEED


def test_worlds_differ_and_rare_weathers_come_as_often() -> None:
    made = [first_view(FIRST_SEED + i)[0] for i in range(600)]
    for name, size in (("theme", len(THEMES)), ("time", len(TIMES)), ("weather", len(WEATHERS))):
        counts = np.bincount([getattr(a, name) for a in made], minlength=size)
        assert counts.min() > 0.5 * 600 / size, name
    assert len({a.density for a in made}) == 600
    _, _, camera = first_view(FIRST_SEED)
    assert camera[4] == 0.0, "level"


@pytest.mark.usefixtures("few")
def test_views_are_the_same_again_and_not_drawn_twice(tmp_path: Path) -> None:
    pictures = autoencoder()
    for folder in ("one", "two"):
        assert list(render_views(tmp_path / folder, range(2), WORLD, pictures)) == [8, 16]
    one, two = (np.load(tmp_path / folder / "0001.npz") for folder in ("one", "two"))
    assert np.array_equal(one["latents"], two["latents"])
    assert one["latents"].shape == (2, 8, 3, 4, 6)
    assert one["latents"].std() > 0.05
    stamp = (tmp_path / "one/0000.npz").stat().st_mtime_ns
    (tmp_path / "one/0002.part.npz").touch()  # left behind by a run that was cut off
    assert list(render_views(tmp_path / "one", range(2), WORLD, pictures)) == [8, 16]
    assert (tmp_path / "one/0000.npz").stat().st_mtime_ns == stamp
    assert Views.open(tmp_path / "one", 64).latents.shape == (2, 16, 3, 4, 6)


@pytest.mark.usefixtures("few")
def test_batches_are_told_in_words_that_are_true(tmp_path: Path) -> None:
    list(render_views(tmp_path, range(1), WORLD, autoencoder()))
    views, rng = Views.open(tmp_path, 64), np.random.default_rng(0)
    told = [views.told(3, rng) for _ in range(40)]
    assert len(set(told)) > 10
    assert sum(not text for text in told) <= 4
    theme, time, weather = (int(x) for x in views.attributes[3, :3])
    for text in told:
        hints = parse(text)
        assert hints.time in (time, None)
        assert hints.weather in (weather, None)
    assert sum(parse(text).theme == theme for text in told) > 25
    latents, words = views.draw(rng, 6, 0.0)
    assert latents.shape == (6, 3, 4, 6)
    assert latents.dtype == torch.float32
    assert words.shape[0] == 6
    _, silent = views.draw(rng, 6, 1.0)
    assert torch.equal(silent, torch.stack([word_ids("", 64)] * 6))


def test_an_empty_folder_names_its_stage(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="worldstream train painter"):
        Views.open(tmp_path, 64)
