"""The catalogue of open checkpoints: what a folder is taken for, what is refused, and that no half card is left."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from worldstream.worlds import catalogue, model_card, model_check
from worldstream.worlds.errors import CheckpointError, WeightsError
from worldstream.worlds.model_card import ModelCard, all_cards, find_card, read_card
from worldstream.worlds.model_folder import licence
from worldstream.worlds.wan import checkpoint_files, families
from worldstream.worlds.wan.families import FAMILIES
from worldstream.worlds.wan.layout import T2V_14B
from worldstream.worlds.wan.layout_parts import TextShape, lora, text_encoder
from worldstream.worlds.wan.memory import GIB
from worldstream.worlds.wan.synthesize import TEXT_FILE, VAE_FILE, synthesize, write_pickle

SYNTHESIZED = ("self-forcing", "longlive", "wan2.1-i2v-14b-480p", "matrix-game-2-gta-drive")


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny checkpoints in the published layout, one folder a family. Not to be changed."""
    base = tmp_path_factory.mktemp("published")
    for name in SYNTHESIZED:
        synthesize(FAMILIES[name], base / name)
    return base


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def folder(published: Path, tmp_path: Path) -> Path:
    """A copy of Self-Forcing that a test may spoil."""
    return Path(shutil.copytree(published / "self-forcing", tmp_path / "folder"))


def refused(data: Path, *folders: Path, name: str | None = None, family: str | None = None) -> str:
    """The one line of an `add` that fails; nothing is left of it."""
    before = sorted(data.rglob("*"))
    with pytest.raises((WeightsError, CheckpointError)) as caught:
        catalogue.add(folders, data, name, family)
    assert sorted(data.rglob("*")) == before
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_world_of_five_parts(published: Path, data: Path) -> None:
    said: list[str] = []
    card = catalogue.add([published / "self-forcing"], data, "self-forcing", say=said.append)
    assert card == find_card(data, "self-forcing") == all_cards(data)[0]
    assert {part.role for part in card.parts} == {
        families.TRANSFORMER, families.VAE, families.TAEHV, families.TEXT, families.TOKENIZER,
    }  # fmt: skip
    transformer = card.part(families.TRANSFORMER)
    assert transformer is not None
    assert transformer.root == "generator_ema"
    assert transformer.dtypes == ("float32",)
    assert transformer.files[0].path == str(published / "self-forcing/checkpoints/self_forcing_dmd.pt")
    assert card.licence == "cc0-1.0"
    assert "gdhe17/Self-Forcing" in card.source
    assert any("text-to-video transformer" in line for line in said)
    assert catalogue.open_part(card, data, families.TRANSFORMER).families[0] == "self-forcing"
    assert (catalogue.entry_path(card, data, families.TOKENIZER) / "tokenizer.json").is_file()
    catalogue.verify(card, data)


def test_shards_and_a_clip_encoder(published: Path, data: Path) -> None:
    card = catalogue.add([published / "wan2.1-i2v-14b-480p"], data, "pictures", "wan2.1-i2v-14b-720p")
    assert card.family == "wan2.1-i2v-14b-720p"
    part = card.part(families.TRANSFORMER)
    assert part is not None
    assert len(part.files) == 8  # seven shards and their index
    assert part.entry.endswith("index.json")
    assert card.part(families.CLIP)
    opened = catalogue.open_part(card, data, families.TRANSFORMER)
    assert len(opened.checkpoint.files) == 7


def test_what_the_keys_cannot_tell_must_be_said(published: Path, data: Path) -> None:
    text = refused(data, published / "self-forcing")
    assert "may be causal-forcing-chunkwise, " in text
    assert "say which with --as NAME" in text
    assert "are not matrix-game-2-universal" in refused(
        data, published / "self-forcing", name="matrix-game-2-universal"
    )
    assert "no checkpoint named 'x'" in _value_error(data, published / "self-forcing", "x")
    assert (
        catalogue.add([published / "self-forcing"], data, "causal-forcing-chunkwise").family
        == "causal-forcing-chunkwise"
    )


def _value_error(data: Path, folder: Path, family: str) -> str:
    with pytest.raises(ValueError, match="no checkpoint named") as caught:
        catalogue.add([folder], data, None, family)
    return str(caught.value)


def test_the_lora_tells_longlive(published: Path, data: Path) -> None:
    card = catalogue.add([published / "longlive"], data)
    assert card.name == card.family == "longlive"
    assert card.part(families.LORA)
    transformer = card.part(families.TRANSFORMER)
    assert transformer is not None
    assert transformer.root == "generator"


def test_the_entry_that_upstream_loads_is_taken(folder: Path, data: Path) -> None:
    path = folder / "checkpoints/self_forcing_dmd.pt"
    content = torch.load(path, weights_only=True)
    torch.save({"generator": content["generator_ema"], **content}, path)
    for name, root in (("causal-forcing-chunkwise", "generator"), ("self-forcing", "generator_ema")):
        transformer = catalogue.add([folder], data, name).part(families.TRANSFORMER)
        assert transformer is not None
        assert transformer.root == root


@pytest.mark.parametrize(
    ("gone", "expected"),
    [
        ([VAE_FILE, "taew2_1.safetensors"], "also needs its decoder, which is not in"),
        ([TEXT_FILE], "models_t5_umt5-xxl-enc-bf16.pth"),
        (["google/umt5-xxl/tokenizer.json"], "tokenizer.json is not in"),
        (["checkpoints/self_forcing_dmd.pt"], "holds no transformer that can be served"),
    ],
)
def test_a_missing_part_is_named_with_its_usual_place(folder: Path, data: Path, gone: list[str], expected: str) -> None:
    for file in gone:
        (folder / file).unlink()
    assert expected in refused(data, folder, name="self-forcing")


def test_parts_may_lie_in_several_folders(folder: Path, data: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "wan"
    elsewhere.mkdir()
    for file in (VAE_FILE, TEXT_FILE, "google"):
        shutil.move(folder / file, elsewhere / file)
    card = catalogue.add([folder, elsewhere], data, "self-forcing")
    text = card.part(families.TEXT)
    assert text is not None
    assert text.entry == str(elsewhere / TEXT_FILE)


def test_a_matrix_game_needs_its_image_encoder(published: Path, data: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(published / "matrix-game-2-gta-drive", tmp_path / "game"))
    next(folder.glob("models_clip*")).unlink()
    text = refused(data, folder)
    assert "needs its image encoder" in text
    assert "Skywork/Matrix-Game-2.0" in text


def test_two_of_a_kind(folder: Path, data: Path) -> None:
    shutil.copyfile(folder / VAE_FILE, folder / "again.pth")
    assert "are both a vae" in refused(data, folder, name="self-forcing")


def test_strangers_are_left_alone_and_damage_is_not(folder: Path, data: Path) -> None:
    save_file({"unet.a": torch.ones(2)}, folder / "stranger.safetensors")
    (folder / "notes.txt").write_text("hello")
    (folder / ".cache").mkdir()
    (folder / ".cache/half.safetensors").write_bytes(b"x")
    said: list[str] = []
    catalogue.add([folder], data, "self-forcing", say=said.append)
    assert any("not used" in line and "stranger.safetensors" in line for line in said)
    (folder / "stranger.safetensors").write_bytes(b"x" * 100)
    assert "stranger.safetensors is truncated" in refused(data, folder, name="self-forcing-2", family="self-forcing")


def test_folders_without_weights(data: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "holds no weights" in refused(data, tmp_path / "empty")
    assert "does not exist" in refused(data, tmp_path / "nowhere")
    save_file({"unet.a": torch.ones(2)}, tmp_path / "empty/stranger.safetensors")
    assert "is of no known family (keys like unet.a)" in refused(data, tmp_path / "empty")


def test_a_lora_of_another_base(folder: Path, data: Path) -> None:
    write_pickle(
        folder / "style.pt", {k: v for k, v in lora(T2V_14B, 1).items() if ".blocks.0." in k}, torch.float16, 0, ""
    )
    text = refused(data, folder, name="longlive")
    assert "style.pt is a LoRA for width 5120" in text


def test_a_text_encoder_of_another_width(published: Path, folder: Path, data: Path) -> None:
    other = TextShape(vocabulary=200, dim=32, ffn=48, heads=2, layers=1)
    write_pickle(folder / TEXT_FILE, text_encoder(other), torch.bfloat16, 0, "")
    assert "text encoder of width 32" in refused(data, folder, name="self-forcing")


def test_tokenizers(folder: Path, data: Path) -> None:
    path = folder / "google/umt5-xxl/tokenizer.json"
    content = json.loads(path.read_text())
    more = {**content, "model": {**content["model"], "vocab": [*content["model"]["vocab"], *[["x", 0.0]] * 500]}}
    path.write_text(json.dumps(more))
    assert "598 pieces" in refused(data, folder, name="self-forcing")
    path.write_text("[" * 100_000)
    assert "is no tokenizer" in refused(data, folder, name="self-forcing")
    path.write_text(json.dumps({"model": {"vocab": [["<s>", 0], ["<pad>", 0]]}}))  # XLM-RoBERTa's beginning
    assert "tokenizer.json is not in" in refused(data, folder, name="self-forcing")


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "a b", "x" * 65, "ä", "a\n"])
def test_names_that_no_file_may_have(published: Path, data: Path, name: str) -> None:
    assert "cannot be a model's name" in refused(data, published / "self-forcing", name=name, family="self-forcing")
    with pytest.raises(WeightsError, match="cannot be a model's name"):
        catalogue.remove(name, data)


def test_a_name_is_given_once(published: Path, data: Path) -> None:
    catalogue.add([published / "longlive"], data)
    assert "already" in refused(data, published / "longlive")
    assert "already" in refused(data, published / "longlive", name="nano")  # the embedded world's


def test_copied_weights_go_with_the_card_and_others_stay(folder: Path, data: Path, published: Path) -> None:
    card = catalogue.add([folder], data, "mine", "self-forcing", copy=True)
    shutil.rmtree(folder)
    assert card.copied
    assert not any(Path(file.path).is_absolute() for part in card.parts for file in part.files)
    catalogue.verify(card, data)
    assert catalogue.open_part(card, data, families.TEXT).parameters > 0
    assert (catalogue.entry_path(card, data, families.TOKENIZER) / "tokenizer.json").is_file()
    moved = data.rename(data.with_name("moved"))
    catalogue.verify(card, moved)
    catalogue.remove("mine", moved)
    assert list((moved / "models").iterdir()) == []
    catalogue.add([published / "longlive"], moved)
    catalogue.remove("longlive", moved)
    assert (published / "longlive/models/lora.pt").is_file()
    with pytest.raises(WeightsError, match=r"no model named 'longlive'; in the catalogue: none"):
        catalogue.remove("longlive", moved)


def test_a_folder_of_the_user_is_never_replaced_or_removed(folder: Path, data: Path) -> None:
    """Weights may lie where a copy of them would: under the data folder, under the same name."""
    own = data / "models/mine"
    own.parent.mkdir(parents=True)
    shutil.move(folder, own)
    with pytest.raises(WeightsError, match="was not made by --copy"):
        catalogue.add([own], data, "mine", "self-forcing", copy=True)
    catalogue.add([own], data, "mine", "self-forcing")
    catalogue.remove("mine", data)
    assert (own / TEXT_FILE).is_file()


def test_copied_shards_keep_their_index(published: Path, data: Path) -> None:
    card = catalogue.add([published / "wan2.1-i2v-14b-480p"], data, "wan2.1-i2v-14b-480p", copy=True)
    assert len(catalogue.open_part(card, data, families.TRANSFORMER).checkpoint.files) == 7


def test_changed_weights_are_noticed(folder: Path, data: Path) -> None:
    card = catalogue.add([folder], data, "self-forcing")
    path = folder / "taew2_1.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    catalogue.open_part(card, data, families.TAEHV)  # the size is as it was
    with pytest.raises(WeightsError, match=r"taew2_1\.safetensors is not what was added"):
        catalogue.verify(card, data)
    path.write_bytes(b"short")
    with pytest.raises(WeightsError, match="missing or has changed"):
        catalogue.open_part(card, data, families.TAEHV)
    path.unlink()
    with pytest.raises(WeightsError, match="is missing; put it back"):
        catalogue.entry_path(card, data, families.TAEHV)


class Killed(BaseException):
    """As if the process ended here."""


@pytest.mark.parametrize("where", ["fsync", "replace"])
@pytest.mark.parametrize("copy", [False, True])
def test_a_kill_between_writes_leaves_no_half_card(
    published: Path, data: Path, monkeypatch: pytest.MonkeyPatch, where: str, copy: bool
) -> None:
    def killed(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        if where == "fsync":
            patched.setattr(os, "fsync", killed)
        else:
            patched.setattr(Path, "replace", killed)
        with pytest.raises(Killed):
            catalogue.add([published / "longlive"], data, copy=copy)
    assert all_cards(data) == []
    card = catalogue.add([published / "longlive"], data, copy=copy)  # and nothing is in the way
    assert all_cards(data) == [card]


def test_leftovers_of_a_killed_process_are_no_cards(published: Path, data: Path) -> None:
    catalogue.add([published / "longlive"], data)
    (data / "models/.self-forcing.json.1.part").write_text('{"name":')
    (data / "models/.x.2.part").mkdir()
    assert [card.name for card in all_cards(data)] == ["longlive"]


def test_cards_are_strict(published: Path, data: Path) -> None:
    card = catalogue.add([published / "longlive"], data)
    path = data / "models/longlive.json"
    raw = json.loads(path.read_text())
    assert ModelCard.from_json(raw) == card
    spoiled: list[object] = [
        {**raw, "version": 2}, {**raw, "new": 1}, {k: v for k, v in raw.items() if k != "family"}, {**raw, "copied": 1},
        {**raw, "parts": {}}, {**raw, "parts": [{}]}, {**raw, "name": "other"}, {**raw, "name": "../x"}, [], None,
    ]  # fmt: skip
    for content in spoiled:
        path.write_text(json.dumps(content))
        with pytest.raises(WeightsError, match=r"longlive\.json cannot be read .*models remove longlive"):
            find_card(data, "longlive")
    catalogue.remove("longlive", data)  # as the message says
    assert all_cards(data) == []


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_hostile_cards(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="cannot be read"):
        read_card(path)


@pytest.mark.parametrize(
    ("card", "expected"),
    [
        ("---\nlanguage: en\nlicense: MIT\n---\n# Hello", "mit"),
        ("# no front matter", None),
        ("---\nlicense:\n---\n", None),
    ],
)
def test_licences(tmp_path: Path, card: str, expected: str | None) -> None:
    (tmp_path / "README.md").write_text(card)
    (tmp_path / "LICENSE").write_text("Apache License\nVersion 2.0")
    assert licence([tmp_path], "a/b")[0] == (expected or "apache-2.0")
    (tmp_path / "LICENSE").write_text("Our own terms")
    assert licence([tmp_path], "a/b")[0] == (expected or "see LICENSE")
    (tmp_path / "LICENSE").unlink()
    (tmp_path / "README.md").unlink()
    assert licence([tmp_path], "a/b") == ("unknown", "unknown (published as a/b)")


def test_check_says_what_a_session_takes(published: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = catalogue.add([published / "self-forcing"], data, "self-forcing")
    lines = list(model_check.check(card, data, again=True))
    text = "\n".join(lines)
    assert "transformer: 2,030,016 parameters, float32" in text
    assert sum("832x480, window 12 latent frames" in line for line in lines) == 2  # both decoders
    assert "fits: float32" in text or "fits: bf16" in text
    monkeypatch.setattr(model_check, "itemsize", lambda: 2)
    monkeypatch.setattr(model_check, "free_bytes", lambda: (10 * GIB, "a GPU"))
    assert "fits: bf16" in "\n".join(model_check.check(card, data))
    monkeypatch.setattr(model_check, "free_bytes", lambda: (1000, "a small GPU"))
    text = "\n".join(model_check.check(card, data))
    assert "free: 0.00 GiB of a small GPU" in text
    assert "does not fit" in text
    assert "fits:" not in text


def test_nothing_is_loaded_by_add_and_check(published: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a tensor was read")

    monkeypatch.setattr(checkpoint_files, "_safe_tensors", refuse)
    monkeypatch.setattr(checkpoint_files, "_pickled_tensors", refuse)
    card = catalogue.add([published / "longlive"], data)
    assert list(model_check.check(card, data))


def test_the_disk_is_measured_before_a_copy(published: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 0))
    with pytest.raises(WeightsError, match="leave --copy out"):
        catalogue.add([published / "longlive"], data, copy=True)
    assert not model_card.models_folder(data).exists()
