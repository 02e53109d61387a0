"""Engines on disk: what does not match is never handed on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from worldstream.worlds.engine_files import EngineKey, load, obtain, save, sources_hash

KEY = EngineKey("wan-chunk-bf16", "NVIDIA L4", "8.9", "TensorRT-RTX", "1.7.1.116", "a" * 64, "b" * 64)
DATA = bytes(range(256)) * 64


def refused(folder: Path, key: EngineKey = KEY) -> str:
    """Why nothing is loaded: one line."""
    found = load(folder, key)
    assert isinstance(found, str)
    assert "\n" not in found
    return found


def test_what_was_saved_is_found_again(tmp_path: Path) -> None:
    assert refused(tmp_path) == "none was built here yet"
    path = save(tmp_path / "new", KEY, DATA, build_seconds=3.5)
    assert load(tmp_path / "new", KEY) == DATA
    assert {p.name for p in path.parent.iterdir()} == {f"{KEY.stem}.engine", f"{KEY.stem}.json"}
    told = json.loads(path.with_suffix(".json").read_text())
    assert (told["build_seconds"], told["bytes"], told["key"]["gpu"]) == (3.5, len(DATA), "NVIDIA L4")


@pytest.mark.parametrize("place", [0, 5000, len(DATA) - 1])
def test_a_changed_byte_is_refused(tmp_path: Path, place: int) -> None:
    path = save(tmp_path, KEY, DATA)
    changed = bytearray(DATA)
    changed[place] ^= 1
    path.write_bytes(changed)
    assert "sha256 differs" in refused(tmp_path)


@pytest.mark.parametrize("data", [b"", DATA[:-1], DATA + b"\0"])
def test_another_length_is_refused(tmp_path: Path, data: bytes) -> None:
    save(tmp_path, KEY, DATA).write_bytes(data)
    assert "sha256 differs" in refused(tmp_path)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("version", "1.6.0.1", "another TensorRT version"),
        ("graph", "c" * 64, "another graph"),
        ("weights", "c" * 64, "another set of weights"),
    ],
)
def test_an_older_engine_is_refused_and_replaced(tmp_path: Path, field: str, value: str, words: str) -> None:
    save(tmp_path, replace(KEY, **{field: value}), b"older")
    assert words in refused(tmp_path)
    said: list[str] = []
    assert obtain(tmp_path, KEY, lambda: DATA, said.append) == DATA
    assert len(said) == 1
    assert words in said[0]
    assert load(tmp_path, KEY) == DATA
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(("field", "value"), [("gpu", "NVIDIA L40S"), ("capability", "12.0"), ("edition", "TensorRT")])
def test_a_foreign_engine_is_refused_even_under_our_name(tmp_path: Path, field: str, value: str) -> None:
    foreign = replace(KEY, **{field: value})
    path = save(tmp_path, foreign, DATA)
    assert refused(tmp_path) == "none was built here yet"
    path.rename(tmp_path / f"{KEY.stem}.engine")
    path.with_suffix(".json").rename(tmp_path / f"{KEY.stem}.json")
    assert "is of another" in refused(tmp_path)


@pytest.mark.parametrize("manifest", [b"", b"[]", b"{}", b'{"format": 1}', b'{"format": 1, "key": 3}', b"\xff\xfe"])
def test_a_broken_manifest_is_refused(tmp_path: Path, manifest: bytes) -> None:
    save(tmp_path, KEY, DATA).with_suffix(".json").write_bytes(manifest)
    refused(tmp_path)


def test_an_engine_without_manifest_or_with_one_alone_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path, KEY, DATA)
    path.with_suffix(".json").unlink()
    refused(tmp_path)
    path = save(tmp_path, KEY, DATA)
    path.unlink()
    refused(tmp_path)


def test_a_folder_that_everybody_may_write_is_not_used(tmp_path: Path) -> None:
    save(tmp_path, KEY, DATA)
    tmp_path.chmod(0o777)
    assert "everybody may write" in refused(tmp_path)
    tmp_path.chmod(0o700)
    assert load(tmp_path, KEY) == DATA


def test_a_write_that_fails_leaves_nothing_half_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    said: list[str] = []
    assert obtain(tmp_path, KEY, lambda: DATA, said.append) == DATA
    assert "No space left" in said[-1]
    assert list(tmp_path.iterdir()) == []


def test_obtain_builds_once(tmp_path: Path) -> None:
    built: list[int] = []

    def build() -> bytes:
        built.append(1)
        return DATA

    said: list[str] = []
    assert [obtain(tmp_path, KEY, build, said.append) for _ in range(3)] == [DATA] * 3
    assert len(built) == 1
    assert said == ["engine wan-chunk-bf16: none was built here yet; building it"]
    assert obtain(None, KEY, build, said.append) == DATA
    assert len(built) == 2


def test_the_hash_of_a_graph_knows_its_sources_and_numbers(tmp_path: Path) -> None:
    source = tmp_path / "graph.py"
    source.write_text("a = 1")
    first = sources_hash(3, "bf16", files=(source,))
    assert sources_hash(3, "bf16", files=(source,)) == first
    assert sources_hash(4, "bf16", files=(source,)) != first
    source.write_text("a = 2")
    assert sources_hash(3, "bf16", files=(source,)) != first
