"""Synthesized checkpoints, from the folder through the catalogue to frames; and what is refused before it is loaded."""

from __future__ import annotations

import gc
import json
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from worldstream.worlds import catalogue, library
from worldstream.worlds.core import Action, World
from worldstream.worlds.errors import WeightsError
from worldstream.worlds.model_card import ModelCard, find_card
from worldstream.worlds.options import OpenOptions
from worldstream.worlds.wan import openvino_backend
from worldstream.worlds.wan import world as opening
from worldstream.worlds.wan.families import FAMILIES
from worldstream.worlds.wan.fp8 import weight_bytes
from worldstream.worlds.wan.live import LIVE
from worldstream.worlds.wan.loading import fill
from worldstream.worlds.wan.memory import MemoryRefused
from worldstream.worlds.wan.openvino_backend import OpenVINOSteps
from worldstream.worlds.wan.rollout import WanRollout
from worldstream.worlds.wan.synthesize import synthesize
from worldstream.worlds.wan.text import TextEncoder
from worldstream.worlds.wan.world import OpenWorld, load_open_world

SMALL = OpenOptions(width_px=64, height_px=48, device="cpu", engine="eager")


def added(data: Path, name: str) -> ModelCard:
    """A tiny random checkpoint of a family in the catalogue."""
    folder = data.parent / name
    synthesize(FAMILIES[name], folder)
    return catalogue.add([folder], data, name=name)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("name", [n for n in LIVE if n in FAMILIES])
def test_every_live_family_from_folder_to_frames(name: str, data: Path) -> None:
    card = added(data, name)
    world: World = load_open_world(card, data, SMALL)
    assert (world.name, world.width_px, world.height_px) == (name, 64, 48)
    assert world.frames_per_step == LIVE[name].frames
    rollout = world.rollout()
    rollout.reset(3, "a red forest", np.full((48, 64, 3), 90, np.uint8) if "walk" in world.controls else None)
    frames = [frame for _ in range(2) for frame in rollout.step(Action(forward_m=3.0))]
    assert len(frames) == 2 * world.frames_per_step - 3
    assert frames[0].rgb.shape == (48, 64, 3)
    assert frames[-1].rgb.std() > 1


def test_a_lora_that_belongs_to_the_model_is_part_of_its_weights(data: Path, tmp_path: Path) -> None:
    card = added(data, "longlive")
    world = load_open_world(card, data, SMALL)
    plain = tmp_path / "plain"
    synthesize(FAMILIES["longlive"], plain)
    assert card.part("lora") is not None
    name = "blocks.0.self_attn.q.weight"
    merged = world.model.transformer.state_dict()[name]
    part = catalogue.open_part(card, data, "transformer")
    stored = dict(part.checkpoint.tensors(torch.float32, "cpu", [part.published[name]]))[part.published[name]]
    assert merged.shape == stored.shape
    assert not torch.allclose(merged, stored, atol=1e-4)


def test_words_are_kept_on_disk_and_the_encoder_makes_room(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = load_open_world(added(data, "self-forcing"), data, SMALL)
    rollout = world.rollout()
    rollout.reset(1, "a red forest")
    once = [f.rgb for f in rollout.step(Action())]
    assert len(list((data / "models" / "embeddings").glob("*.safetensors"))) == 1
    monkeypatch.setattr(TextEncoder, "rows", lambda *_: pytest.fail("the text encoder was asked again"))
    again = load_open_world(find_card(data, "self-forcing"), data, SMALL).rollout()
    again.reset(1, "a red forest")
    assert all(np.array_equal(a, f.rgb) for a, f in zip(once, again.step(Action()), strict=True))


def test_a_walk_without_a_picture_begins_with_one_that_the_embedded_world_draws(data: Path) -> None:
    world = load_open_world(added(data, "matrix-game-2-universal"), data, SMALL)
    assert world.model.paint is not None
    picture = world.model.paint(5, "a snowy forest")
    assert picture.shape == (48, 64, 3)
    assert picture.std() > 5
    assert not np.array_equal(picture, world.model.paint(6, "a snowy forest"))
    one, two = world.rollout(), world.rollout()
    one.reset(5, "a snowy forest")
    two.reset(5, "", picture)
    assert all(np.array_equal(a.rgb, b.rgb) for a, b in zip(one.step(Action()), two.step(Action()), strict=True))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (OpenOptions(width_px=64, height_px=48, window=2), "window of self-forcing must hold 3"),
        (OpenOptions(width_px=60, height_px=48), "60"),
        (OpenOptions(width_px=64_000, height_px=48_000), "GiB are free"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_loaded(
    options: OpenOptions, says: str, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = added(data, "self-forcing")
    monkeypatch.setattr(opening, "fill", lambda *_: pytest.fail("weights were loaded"))
    with pytest.raises((ValueError, MemoryRefused), match=says) as error:
        load_open_world(card, data, options)
    assert "\n" not in str(error.value)


def test_models_of_clips_are_not_played(data: Path) -> None:
    with pytest.raises(WeightsError, match="makes clips"):
        load_open_world(added(data, "wan2.1-t2v-1.3b"), data, SMALL)


def test_a_failure_half_way_leaves_nothing_loaded(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = added(data, "self-forcing")
    alive: list[weakref.ref[torch.nn.Module]] = []
    real = fill

    def failing(module: torch.nn.Module, *rest: object) -> None:
        alive.append(weakref.ref(module))
        if len(alive) == 2:
            raise WeightsError("the decoder's file ends early; copy it again")
        real(module, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(opening, "fill", failing)
    with pytest.raises(WeightsError, match="ends early"):
        load_open_world(card, data, SMALL)
    gc.collect()
    assert [ref() for ref in alive] == [None, None]


def test_fp8_weights_take_half_and_draw_nearly_the_same(data: Path) -> None:
    card = added(data, "matrix-game-2-universal")
    picture = np.random.default_rng(1).integers(0, 256, (48, 64, 3), np.uint8)
    full = load_open_world(card, data, SMALL)
    small = load_open_world(card, data, replace(SMALL, precision="fp8"))
    assert "fp8" in small.engine
    assert weight_bytes(small.model.transformer) < 0.6 * weight_bytes(full.model.transformer)
    frames = []
    for world in (full, small):
        rollout = world.rollout()
        rollout.reset(1, "", picture)
        frames.append(np.stack([f.rgb for f in rollout.step(Action())]).astype(float))
    assert 0 < np.abs(frames[0] - frames[1]).mean() < 0.25 * frames[0].std()


def test_options_that_do_not_exist() -> None:
    with pytest.raises(ValueError, match="precision is one of"):
        OpenOptions(precision="int3")
    with pytest.raises(ValueError, match="engines auto, eager, openvino, cuda, tensorrt, not 'onnx'"):
        OpenOptions(engine="onnx")
    with pytest.raises(ValueError, match="decoder is one of"):
        OpenOptions(decoder="jpeg")


def test_an_engine_that_is_not_here_is_told_in_one_line(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    card = added(data, "self-forcing")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="torch can use no GPU"):
            load_open_world(card, data, replace(SMALL, engine="cuda"))
        rollout = load_open_world(card, data, replace(SMALL, engine="tensorrt")).rollout()
        rollout.reset(1, "a forest")
        assert len(list(rollout.step(Action()))) == 9
        told = [r.message for r in caplog.records if "TensorRT" in r.message]
        assert len(told) == 1
        assert told[0].endswith("torch draws")


def test_openvino_by_name_and_by_measurement(
    data: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    card = added(data, "longlive")
    frames: list[NDArray[np.int_]] = []
    automatic = replace(SMALL, engine="auto", precision="float32")

    def drawn(options: OpenOptions, engine: str) -> None:
        world = load_open_world(card, data, options)
        assert world.engine.startswith(engine)
        rollout = world.rollout()
        rollout.reset(1, "a forest")
        frames.append(np.stack([f.rgb for f in rollout.step(Action())]).astype(int))
        assert rollout._step.name == engine.removesuffix(" float32")

    drawn(SMALL, "eager")
    drawn(replace(automatic, engine="openvino"), "openvino f32")
    assert len(list((data / "models" / "engines").glob("*.engine"))) == 1
    monkeypatch.setattr(openvino_backend, "quicker", lambda *_: (True, "a pass takes less"))
    drawn(automatic, "openvino f32")
    monkeypatch.setattr(openvino_backend, "quicker", lambda *_: pytest.fail("measured twice"))
    drawn(automatic, "openvino f32")
    monkeypatch.setattr(openvino_backend, "quicker", lambda *_: (False, "a pass takes more"))
    drawn(replace(automatic, window=9), "eager")
    drawn(replace(automatic, precision="fp8"), "eager")
    assert all(np.abs(frames[i] - frames[0]).max() <= 1 for i in range(5))
    caplog.clear()
    monkeypatch.setattr(OpenVINOSteps, "engine", lambda *_: "the package openvino is not installed")
    drawn(replace(automatic, engine="openvino"), "eager")
    told = [r.message for r in caplog.records if "OpenVINO" in r.message]
    assert told == ["OpenVINO transformer: the package openvino is not installed; torch draws"]


def test_the_fused_commit_is_an_option(data: Path) -> None:
    card = added(data, "self-forcing")
    frames = []
    for fused in (False, True):
        world = load_open_world(card, data, replace(SMALL, engine="eager", fused_commit=fused))
        rollout = world.rollout()
        rollout.reset(1, "a forest")
        frames.append(np.stack([f.rgb for _ in range(3) for f in rollout.step(Action())]).astype(int))
        assert rollout._step.name == ("fused" if fused else "eager")
    assert np.abs(frames[0] - frames[1]).max() <= 1


def test_the_library_knows_both_kinds(data: Path) -> None:
    added(data, "self-forcing")
    assert library.names(data) == ["nano", "self-forcing"]
    world = library.load_any_world("self-forcing", data, options=OpenOptions(64, 48))
    assert isinstance(world, OpenWorld)
    assert isinstance(world.rollout(), WanRollout)
    assert world.steps == 4
    with pytest.raises(ValueError, match="runs at 4 steps, not 3"):
        library.load_any_world("self-forcing", data, steps=3, options=OpenOptions(64, 48))
    with pytest.raises(WeightsError, match="no world named 'mars'; worlds on this machine: nano, self-forcing"):
        library.load_any_world("mars", data)
    assert library.load_any_world(None, data, engine="eager").name == "nano"


def test_logs_of_other_weights_or_windows_are_told_apart(data: Path) -> None:
    card = added(data, "self-forcing")
    hashes = {load_open_world(card, data, OpenOptions(64, 48, window, device="cpu")).sha256 for window in (3, 6)}
    assert len(hashes) == 2
    assert all(len(h) == 64 for h in hashes)
    json.dumps(sorted(hashes))


def test_words_ask_for_loras_between_blocks(data: Path, tmp_path: Path) -> None:
    """The scale changes with the words, without a reload; who does not ask has none of it."""
    card = added(data, "self-forcing")
    lora = tmp_path / "longlive"
    synthesize(FAMILIES["longlive"], lora)
    file = (lora / "models/lora.pt").rename(tmp_path / "ink.pt")
    world = load_open_world(card, data, replace(SMALL, loras=(file,)))
    plain = load_open_world(card, data, SMALL)

    def walk(world: OpenWorld, *words: str) -> list[NDArray[np.uint8]]:
        rollout = world.rollout()
        rollout.reset(1, words[0])
        return [f.rgb for word in words for f in rollout.step(Action(prompt=word))]

    def same(a: list[NDArray[np.uint8]], b: list[NDArray[np.uint8]]) -> bool:
        return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))

    asked = walk(world, "a forest", "a forest <lora:ink:1>", "a forest")
    without = walk(plain, "a forest", "a forest", "a forest")
    assert same(asked[:9], without[:9])
    assert not same(asked[9:21], without[9:21])
    assert same(walk(world, "a forest", "a forest"), without[:21]), "another walk, which did not ask"
    assert not same(walk(world, "a forest <lora:ink:0.5>"), walk(world, "a forest <lora:ink:1>"))


def test_a_lora_of_another_model_is_refused_and_nothing_stays(data: Path, tmp_path: Path) -> None:
    card, other = added(data, "self-forcing"), tmp_path / "other.safetensors"
    save_file(
        {
            "blocks.0.self_attn.q.lora_A.weight": torch.ones(4, 99),
            "blocks.0.self_attn.q.lora_B.weight": torch.ones(99, 4),
        },
        other,
    )
    with pytest.raises(WeightsError, match=r"other\.safetensors"):
        load_open_world(card, data, replace(SMALL, loras=(other,)))
