"""`worldstream train`: what it takes, what it says when something is missing, and a rehearsal of every stage."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from worldstream.worlds import weights
from worldstream.worlds.config import PRESETS, STEPS_4
from worldstream.worlds.core import Action
from worldstream.worlds.training import cli, data, distil, dynamics, judge
from worldstream.worlds.training.data import DataConfig
from worldstream.worlds.training.distil import DistilConfig
from worldstream.worlds.training.dynamics import DynamicsConfig
from worldstream.worlds.training.judge import JudgeConfig, evaluate_judge
from worldstream.worlds.weights import load_world


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "the following arguments are required: stage"),
        (["paint"], "invalid choice: 'paint'"),
        (["data", "--preset", "giant"], "invalid choice: 'giant'"),
        (["judge", "--processes", "0"], "--processes and --minutes must be positive"),
        (["judge", "--minutes", "-1"], "--processes and --minutes must be positive"),
        (["judge", "--minutes", "nan"], "--processes and --minutes must be positive"),
        (["judge", "--minutes", "soon"], "invalid float value: 'soon'"),
    ],
)
def test_bad_arguments(argv: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.parse(argv)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device, so asking for it is no error")
def test_a_device_that_is_not_there_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.parse(["dynamics", "--device", "cuda"])
    assert "--device cuda: torch finds no CUDA device on this machine" in capsys.readouterr().err


def test_defaults_and_folders() -> None:
    request = cli.parse(["dynamics", "--runs", "a/b"])
    assert request.minutes == cli.MINUTES["dynamics"]
    assert (request.data, request.test) == (Path("a/b/data"), Path("a/b/test"))
    assert request.processes >= 1


READERS = ("judge", "tokenizer", "encode", "dynamics", "distil", "decoder", "export", "evaluate")


@pytest.mark.parametrize("stage", READERS)
@pytest.mark.parametrize("processes", ["1", "3"])
def test_a_missing_input_is_one_line(
    stage: str, processes: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([stage, "--runs", str(tmp_path), "--preset", "tiny", "--processes", processes]) == 2
    said = capsys.readouterr()
    assert said.err.startswith(f"worldstream train {stage}: {tmp_path}")
    assert "is missing: run " in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""


@pytest.mark.parametrize("stage", ["dynamics", "distil"])
def test_a_start_that_is_not_there_is_one_line(stage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data/walks/0000").mkdir(parents=True)
    (tmp_path / "data/latents.npy").touch()
    (tmp_path / "tokenizer.pt").touch()
    missing = tmp_path / "nothing.pt"
    assert cli.main([stage, "--runs", str(tmp_path), "--start-from", str(missing)]) == 2
    assert capsys.readouterr().err == f"worldstream train {stage}: --start-from {missing} is not a file\n"


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small shards, clips and batches, and few measurements; everything else is as an operator runs it."""
    monkeypatch.setattr(data, "STILLS_PER_SHARD", 32)
    monkeypatch.setattr(data, "EPISODES_PER_SHARD", 2)
    monkeypatch.setattr(judge, "JudgeConfig", partial(JudgeConfig, motion_pairs=24, batch=4))
    monkeypatch.setattr(judge, "evaluate_judge", partial(evaluate_judge, count=24))
    monkeypatch.setattr(dynamics, "DynamicsConfig", partial(DynamicsConfig, batch=2, closed_batch=2, closed_frames=4))
    monkeypatch.setattr(distil, "DistilConfig", partial(DistilConfig, batch=2, closed_frames=4))


def run(folder: Path, stage: str, *more: str) -> None:
    base = [stage, "--runs", str(folder), "--preset", "tiny", "--processes", "1", "--minutes", "0.005"]
    assert cli.main([*base, "--stills", "32", "--episodes", "4", *more]) == 0


@pytest.mark.usefixtures("small")
@pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:invalid value encountered")
def test_rehearsal_from_nothing_to_a_world_that_plays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every stage of the training in order, a step or a few each: what costs hours later must at least run through."""
    for stage in ("data", "judge", "tokenizer", "encode", "dynamics"):
        run(tmp_path, stage)
    latents = np.load(tmp_path / "data/latents.npy")
    c = PRESETS["tiny"].network
    assert latents.shape == (2, 4, 64, c.channels, c.rows, c.columns)
    assert np.isfinite(latents).all()
    run(tmp_path, "export", "--out", str(tmp_path / "first/worlds"))
    for stage in ("distil", "decoder"):
        run(tmp_path, stage)
    run(tmp_path, "export", "--out", str(tmp_path / "second/worlds"))
    monkeypatch.setattr(weights, "SHIPPED", tmp_path / "none")
    first, second = (load_world("tiny", tmp_path / name, "eager", threads=1) for name in ("first", "second"))
    assert first.step_choices == (4, 3, 2)
    assert (second.step_choices, second.step_list) == ((4, 3, 2), STEPS_4)
    assert second.card.facts["network_from"] == "distil"
    walk = second.rollout()
    walk.reset(0, "forest at night")
    frames = [f for i in range(5) for f in walk.step(Action(forward_m=0.3, input_id=i))]
    assert len(frames) == 5
    for frame in frames:
        assert frame.rgb.shape == (96, 128, 3)
        assert frame.rgb.std() > 3, "a grey picture"
    kept = torch.load(tmp_path / "dynamics.pt", weights_only=True)
    assert kept["step"] > 0
    run(tmp_path, "dynamics")  # again: its minutes are spent, nothing happens
    assert torch.load(tmp_path / "dynamics.pt", weights_only=True)["step"] == kept["step"]


@pytest.mark.usefixtures("small")
def test_data_is_the_same_again_and_is_not_drawn_twice(tmp_path: Path) -> None:
    train, test = DataConfig(16, 8, 24, 32, 4), DataConfig(16, 8, 24, 32, 2, test=True)

    def draw(folder: Path, config: DataConfig) -> None:
        assert list(data.render_stills(folder, config)) == [32]
        assert list(data.render_walks(folder, config))[-1] == config.episodes

    one, two, unseen = tmp_path / "one", tmp_path / "two", tmp_path / "unseen"
    for folder, config in ((one, train), (two, train), (unseen, test)):
        draw(folder, config)
    for path in ("stills/0000.npy", "walks/0001/rgb.npy", "walks/0000/paths.npy"):
        assert np.array_equal(np.load(one / path), np.load(two / path))
    rgb, other = (np.load(folder / "walks/0000/rgb.npy") for folder in (one, unseen))
    assert rgb.shape == other.shape == (2, 24, 8, 16, 3)
    assert not np.array_equal(rgb, other)
    stamp = (one / "walks/0000").stat().st_mtime_ns
    (one / "walks/0001.part").mkdir()  # left behind by a run that was cut off
    draw(one, train)
    assert (one / "walks/0000").stat().st_mtime_ns == stamp
    assert len(data.Walks.open(one).meta) == 4
