"""Worlds on disk: what is saved comes back, and what is wrong is told with its remedy. The shipped worlds are sound."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.worlds.tiny_world import WORLD, autoencoder, network
from worldstream.worlds import engines, weights
from worldstream.worlds.config import PRESETS, PainterConfig, WorldConfig
from worldstream.worlds.core import Action
from worldstream.worlds.painter import Painter
from worldstream.worlds.procedural.attributes import THEMES
from worldstream.worlds.weights import (
    SHIPPED,
    WeightsError,
    WorldCard,
    catalogue,
    find,
    load_modules,
    load_painter,
    load_world,
    save_painter,
    save_world,
)

MOST_MB = 45  # of all shipped worlds: a clone stays small


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with one world in it, and nothing shipped."""
    monkeypatch.setattr(weights, "SHIPPED", tmp_path / "shipped")
    modules = {"network": network().state_dict(), "autoencoder": autoencoder().state_dict()}
    save_world(tmp_path / "worlds", WORLD, modules, {"themes": ["forest", "desert"]})
    return tmp_path


def card_of(data: Path) -> dict[str, Any]:
    card: dict[str, Any] = json.loads((data / "worlds/test.json").read_text())
    return card


def write(data: Path, card: object) -> None:
    (data / "worlds/test.json").write_text(json.dumps(card))


def test_what_is_saved_comes_back(data: Path) -> None:
    card = find("test", data)
    assert card.config == WORLD
    loaded, pictures = load_modules(card)
    for ours, theirs in ((network(), loaded), (autoencoder(), pictures)):
        for name, value in ours.state_dict().items():
            assert torch.equal(theirs.state_dict()[name], value.half().float()), name
        assert not theirs.training
        assert not any(p.requires_grad for p in theirs.parameters())


def test_a_loaded_world_plays(data: Path) -> None:
    world = load_world("test", data, engine="eager", threads=1)
    assert (world.width_px, world.height_px, world.fps) == (WORLD.width_px, WORLD.height_px, WORLD.fps)
    assert (world.name, world.engine, world.steps, world.step_choices) == ("test", "eager", 2, (2, 1))
    assert world.themes == ("forest", "desert")
    assert "forest" in world.understood("a forest of qwertz")
    walk = world.rollout()
    walk.reset(1, "forest")
    (frame,) = walk.step(Action())
    assert frame.rgb.shape == (world.height_px, world.width_px, 3)


def test_steps_are_those_it_was_trained_for(data: Path) -> None:
    world = load_world(None, data, engine="eager", steps=1, threads=1)
    assert world.steps == 1
    assert world.with_steps(2).step_list == WORLD.step_lists[0]
    with pytest.raises(ValueError, match=r"runs at \(2, 1\) steps, not 3"):
        world.with_steps(3)


def test_auto_keeps_its_choice_beside_the_worlds(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "ENGINES", {"eager": engines.EagerEngine})  # compiling is tested elsewhere
    assert load_world("test", data, threads=1).engine
    assert len(json.loads((data / "engines.json").read_text())) == 1


def test_unknown_world_names_the_known_ones(data: Path) -> None:
    with pytest.raises(WeightsError, match=r"no world named 'atlantis'; worlds on this machine: test"):
        load_world("atlantis", data)


def test_no_world_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "SHIPPED", tmp_path / "shipped")
    with pytest.raises(WeightsError, match="worlds on this machine: none"):
        find(None, tmp_path)


def test_unknown_engine(data: Path) -> None:
    with pytest.raises(ValueError, match="unknown engine 'warp'"):
        load_world("test", data, engine="warp")


def test_missing_weights(data: Path) -> None:
    (data / "worlds/test.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"test\.safetensors are missing; restore"):
        load_world("test", data)


def test_damaged_weights(data: Path) -> None:
    path = data / "worlds/test.safetensors"
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    with pytest.raises(WeightsError, match="is damaged or of another training: restore both"):
        load_world("test", data)


BREAKS: dict[str, Callable[[dict[str, Any]], object]] = {
    "no hash": lambda card: {"config": card["config"]},
    "no configuration": lambda card: {"sha256": card["sha256"]},
    "a list": lambda card: [card],
    "a number": lambda _: 7,
    "null": lambda _: None,
    "network is a list": lambda card: {**card, "config": {**card["config"], "network": [1]}},
    "autoencoder is a word": lambda card: {**card, "config": {**card["config"], "autoencoder": "linear"}},
    "configuration is null": lambda card: {**card, "config": None},
}


@pytest.mark.parametrize("how", BREAKS)
def test_a_broken_card_is_named_with_its_remedy(data: Path, how: str) -> None:
    write(data, BREAKS[how](card_of(data)))
    with pytest.raises(WeightsError, match=r"test\.json cannot be read \(.*\); restore it from the repository"):
        load_world("test", data)


@pytest.mark.parametrize("text", ["", "{", "\udcff"])
def test_a_card_that_is_not_json(data: Path, text: str) -> None:
    (data / "worlds/test.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(WeightsError, match=r"test\.json cannot be read"):
        catalogue(data)


@pytest.mark.parametrize("part", ["", "network", "autoencoder"])
def test_a_card_from_the_future_asks_for_an_update(data: Path, part: str) -> None:
    card = card_of(data)
    (card["config"][part] if part else card["config"])["holograms"] = 3
    write(data, card)
    with pytest.raises(WeightsError, match=r"unknown fields in the world's card: \['holograms'\]; update worldstream"):
        load_world("test", data)


def test_a_card_of_another_shape(data: Path) -> None:
    card = card_of(data)
    card["config"]["network"]["width"] = 64
    write(data, card)
    with pytest.raises(WeightsError, match=r"test\.safetensors does not fit its card"):
        load_world("test", data)


def test_other_json_in_the_folder_is_not_a_world(data: Path) -> None:
    (data / "worlds/evaluation.json").write_text('{"from": "distil"}')
    (data / "worlds/notes.json").write_text("not JSON")
    assert [card.name for card in catalogue(data)] == ["test"]


@pytest.mark.parametrize("name", PRESETS)
def test_presets_survive_their_card(name: str) -> None:
    assert WorldConfig.from_json(json.loads(json.dumps(PRESETS[name].to_json()))) == PRESETS[name]


def test_a_world_is_shipped() -> None:
    """The catalogue is not empty, and every world in it is whole: hash, shapes, two frames that are pictures."""
    cards = catalogue()
    assert cards, f"no world in {SHIPPED}"
    for card in cards:
        world = load_world(card.name, engine="eager", threads=1)
        assert set(world.themes) <= set(THEMES)
        walk = world.rollout()
        walk.reset(0, "forest")
        frames = [frame.rgb for _ in range(2) for frame in walk.step(Action(forward_m=0.3))]
        assert len(frames) == 2
        assert all(f.std() > 10 for f in frames), "a grey picture"


def test_shipped_files_are_small() -> None:
    size_mb = sum(p.stat().st_size for p in SHIPPED.rglob("*") if p.is_file()) / 1e6
    assert size_mb <= MOST_MB


@pytest.fixture
def painted(data: Path) -> Path:
    """The same world, given a painter."""
    shapes = PainterConfig(width=32, blocks=1, heads=2, ffn=48, steps=(1.0, 0.5))
    made = Painter(shapes.network(WORLD.network))
    save_painter(find("test", data), shapes, made.state_dict(), {"minutes": 1})
    return data


def test_a_painter_comes_back_and_is_part_of_the_worlds_identity(painted: Path) -> None:
    card = find("test", painted)
    assert card.facts == {"themes": ["forest", "desert"], "painter": {"minutes": 1}}
    assert load_painter(card) is not None
    world, plain = load_world("test", painted, "eager", threads=1), card.without_painter()
    assert (plain.identity, load_painter(plain)) == (card.sha256, None)
    assert world.painter is not None
    assert world.sha256 == card.identity != card.sha256
    assert world.without_painter().sha256 == card.sha256
    assert world.without_painter().painter is None
    other = replace(card, painter_sha256="0" * 64)
    assert other.identity != card.identity


def test_a_damaged_or_missing_painter_is_named(painted: Path) -> None:
    path = painted / "worlds/test.painter.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(WeightsError, match=r"test\.painter\.safetensors has the hash .* is damaged or of another"):
        load_world("test", painted, "eager")
    path.unlink()
    with pytest.raises(WeightsError, match=r"test\.painter\.safetensors are missing; restore"):
        load_world("test", painted, "eager")


def test_a_painter_of_another_shape_or_without_a_hash(painted: Path) -> None:
    card = card_of(painted)
    card["config"]["painter"]["width"] = 64
    write(painted, card)
    with pytest.raises(WeightsError, match=r"test\.painter\.safetensors does not fit its card"):
        load_world("test", painted, "eager")
    for broken in ({"width": 64, "brush": 3}, {"steps": [0.5]}, 7):
        write(painted, {**card, "config": {**card["config"], "painter": broken}})
        with pytest.raises(WeightsError, match=r"test\.json cannot be read"):
            load_world("test", painted, "eager")
    del card["painter_sha256"]
    write(painted, card)
    with pytest.raises(WeightsError, match=r"test\.json cannot be read \(no 'painter_sha256'\)"):
        load_world("test", painted, "eager")


def test_a_card_knows_its_weights(data: Path) -> None:
    card = WorldCard.read(data / "worlds/test.json")
    assert card.weights == data / "worlds/test.safetensors"
    assert card.facts == {"themes": ["forest", "desert"]}


def test_a_card_takes_new_facts_and_still_fits_its_weights(data: Path) -> None:
    card = find("test", data)
    replace(card, facts={**card.facts, "metrics": {"turn": 0.9}}).write()
    again = find("test", data)
    assert again.facts == {"themes": ["forest", "desert"], "metrics": {"turn": 0.9}}
    assert (again.config, again.sha256) == (card.config, card.sha256)
    load_modules(again)
