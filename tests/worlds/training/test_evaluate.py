"""The measures measure: the truth scores its own ceiling, a world that stands still obeys nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.worlds.tiny_world import autoencoder, network
from worldstream.worlds.autoencoder import Autoencoder
from worldstream.worlds.config import NetworkConfig, WorldConfig
from worldstream.worlds.judge import Judge
from worldstream.worlds.training import evaluate
from worldstream.worlds.training.evaluate import Scope, Scripted, commands, long_path, long_walk
from worldstream.worlds.training.playing import Model
from worldstream.worlds.weights import find, load_modules

SCOPE = Scope(command_frames=8, walk_frames=20, themes=(0, 9))


@pytest.fixture(scope="module")
def pictures() -> Autoencoder:
    """The shipped tokenizer: the judge must be able to read what it draws."""
    return load_modules(find(None))[1]


@pytest.fixture
def model(pictures: Autoencoder) -> Model:
    config = WorldConfig(network=NetworkConfig(width=32, blocks=1, heads=2, ffn=32, rows=6, columns=10, window=2))
    return Model(config, network(config.network), pictures, (1.0,))


@pytest.fixture
def drawing(monkeypatch: pytest.MonkeyPatch) -> dict[str, bool]:
    """Stands in for the model's own walk: the truth, or the first true frame for ever."""
    told, scripts = {"still": False}, evaluate.scripted
    kept: list[Scripted] = []

    def remembered(*given: object) -> Scripted:
        kept.append(scripts(*given))  # type: ignore[arg-type]
        return kept[-1]

    def walked(model: Model, history: Tensor, actions: Tensor, words: Tensor, generator: torch.Generator) -> Tensor:
        frames = [model.encode(e.rgb[-actions.shape[1] :]) for e in kept[-1].episodes]
        truth = torch.stack(frames)
        return truth[:, :1].expand_as(truth).contiguous() if told["still"] else truth

    monkeypatch.setattr(evaluate, "scripted", remembered)
    monkeypatch.setattr(evaluate, "walk_batch", walked)
    return told


def test_the_truth_obeys_as_its_ceiling_does(model: Model, judge: Judge, drawing: dict[str, bool]) -> None:
    found = commands(model, judge, SCOPE)
    for name in evaluate.COMMANDS:
        assert found[name] == found[f"{name} ceiling"]
        assert found[f"{name} slope"] == found[f"{name} slope ceiling"]
    assert found["mean"] > 0.9


def test_a_world_that_stands_still_obeys_nothing(model: Model, judge: Judge, drawing: dict[str, bool]) -> None:
    drawing["still"] = True
    found = commands(model, judge, SCOPE)
    assert abs(found["forward slope"]) < 0.1 * found["forward slope ceiling"]
    assert found["turn"] <= 0.75


def test_the_true_walk_is_as_sharp_as_itself_and_never_freezes(
    model: Model, judge: Judge, drawing: dict[str, bool], tmp_path: Path
) -> None:
    found = long_walk(model, judge, SCOPE, tmp_path / "strip.png")
    assert found["sharpness 0-16"] == pytest.approx(1.0)
    assert found["colour 0-16"] == 0
    assert found["theme 0-16"] > 0.6
    assert found["frozen"] == 0
    assert set(found) == {"sharpness 0-16", "colour 0-16", "theme 0-16", "frozen"}, "no span beyond the walk"
    assert (tmp_path / "strip.png").stat().st_size > 1000
    drawing["still"] = True
    assert long_walk(model, judge, SCOPE)["frozen"] == 1


def test_the_long_path_turns_right_angles() -> None:
    path = long_path()
    assert len(path) == 300
    assert path[40:70, 2].sum() == pytest.approx(-torch.pi / 2, rel=1e-3)
    assert path[100:130, 2].sum() == pytest.approx(torch.pi / 2, rel=1e-3)


def test_decoding_in_channels_last_is_the_same_decoding(model: Model) -> None:
    pictures = autoencoder()
    small = Model(model.config, model.network, pictures, (1.0,))
    latents = torch.randn(5, 3, 4, 6)
    torch.testing.assert_close(small.decode(latents), pictures.decode(latents), rtol=1e-4, atol=1e-5)
