"""`worldstream models`: one line for every error, cards in the data folder, and nothing heavy for --help."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from worldstream.realtime import cli


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights") / "game"
    assert cli.main(["models", "synthesize", "matrix-game-2-universal", "--out", str(folder), "--seed", "7"]) == 0
    return folder


def test_from_random_weights_to_a_card_and_back(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ["--data", str(tmp_path)]
    assert (
        cli.main(["models", "add", str(weights), "--as", "my-game", "--family", "matrix-game-2-universal", *data]) == 0
    )
    assert "added my-game: matrix-game-2-universal, licence cc0-1.0" in capsys.readouterr().out
    assert cli.main(["models", "list", *data]) == 0
    listed = capsys.readouterr().out
    assert "my-game  matrix-game-2-universal" in listed
    assert "nano  256x160" in listed  # the embedded world
    assert cli.main(["models", "check", "my-game", "--verify", *data]) == 0
    checked = capsys.readouterr().out
    assert "640x352, window 6 latent frames: session" in checked
    assert cli.main(["models", "remove", "my-game", *data]) == 0
    assert cli.main(["models", "check", "my-game", *data]) == 1
    error = capsys.readouterr().err
    assert error.startswith("worldstream: there is no model named 'my-game'")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["add", "/no/such/folder"], "does not exist"),
        (["add", "/no/such/folder", "--as", "a/b"], "cannot be a model's name"),
        (["add", "/no/such/folder", "--family", "nix"], "supported are wan2.1-t2v-1.3b"),
        (["check", "nix"], "no model named 'nix'"),
        (["remove", "../nano"], "cannot be a model's name"),
    ],
)
def test_errors_are_one_line(
    arguments: list[str], expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["models", *arguments, "--data", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("worldstream: ")
    assert expected in error
    assert error.count("\n") == 1


def test_an_unknown_preset(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models", "synthesize", "nix"]) == 1
    assert "no checkpoint named 'nix'" in capsys.readouterr().err


def test_the_same_seed_writes_the_same_files(weights: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    assert cli.main(["models", "synthesize", "matrix-game-2-universal", "--out", str(again), "--seed", "7"]) == 0
    files = sorted(path.relative_to(weights) for path in weights.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(again) for path in again.rglob("*") if path.is_file())
    for file in files:
        if file.suffix != ".pth":  # torch stamps its archives
            assert (weights / file).read_bytes() == (again / file).read_bytes()


def test_in_a_process_of_its_own(weights: Path, tmp_path: Path) -> None:
    """The environment's data folder, and a damaged file: no traceback."""
    broken = tmp_path / "broken"
    broken.mkdir()
    source = next(weights.rglob("base_distill.safetensors"))
    (broken / "x.safetensors").write_bytes(source.read_bytes()[:-10])
    result = subprocess.run(
        [sys.executable, "-m", "worldstream.realtime.cli", "models", "add", str(broken)],
        capture_output=True, text=True, timeout=120, cwd="/",
        env={**os.environ, "WORLDSTREAM_DATA": str(tmp_path / "d")},
    )  # fmt: skip
    assert result.returncode == 1
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("worldstream: ")
    assert "x.safetensors is truncated" in line


def test_usage() -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["models"])
    assert caught.value.code == 2
