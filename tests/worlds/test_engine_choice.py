"""The choice of an engine is printed, kept, and never a reason to fail."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.worlds.tiny_world import autoencoder, network
from worldstream.worlds import engine_choice, engines
from worldstream.worlds.engine_choice import Timing, choose, time_engine
from worldstream.worlds.engines import EagerEngine, Engine


def test_timing_is_of_real_runs() -> None:
    model = network()
    timing = time_engine(EagerEngine(model, autoencoder().decoder, 1), model, 3)
    assert timing.step_ms > 0
    assert timing.decode_ms > 0
    assert timing.frame_ms(4) == pytest.approx(timing.look_ms + 4 * timing.step_ms + timing.decode_ms)


class Slow(EagerEngine):
    """Loses every comparison."""

    name = "slow"


def absent(*_: object) -> Engine:
    raise ImportError("no module named absent")


@pytest.fixture
def three(monkeypatch: pytest.MonkeyPatch) -> None:
    def timed(engine: Engine, _: object) -> Timing:
        return Timing(0.5, 9.0 if engine.name == "slow" else 3.0, 1.0)

    monkeypatch.setattr(engine_choice, "time_engine", timed)
    monkeypatch.setattr(engines, "ENGINES", {"slow": Slow, "eager": EagerEngine, "absent": absent})


def chosen(cache: Path | None, key: str = "") -> str:
    return choose(network(), autoencoder().decoder, 2, cache, 1, key).name


@pytest.mark.usefixtures("three")
def test_choice_is_printed_kept_and_read_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cache = tmp_path / "data" / "engines.json"
    assert chosen(cache) == "eager"
    said = capsys.readouterr().out
    assert "engine chosen: eager" in said
    assert "engine absent: not here (no module named absent)" in said
    assert "7.5 ms a frame at 2 steps" in said
    kept = json.loads(cache.read_text())
    assert list(kept.values()) == ["eager"]
    cache.write_text(json.dumps(dict.fromkeys(kept, "slow")))
    assert chosen(cache) == "slow", "what was kept is not timed again"
    assert capsys.readouterr().out == ""
    assert chosen(cache, "another world") == "eager"
    assert len(json.loads(cache.read_text())) == 2, "the first choice is still there"


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize("broken", ["", "{", "[]", "null", "3", "\x00\xff"])
def test_a_broken_cache_is_written_anew(tmp_path: Path, broken: str) -> None:
    cache = tmp_path / "engines.json"
    cache.write_text(broken, encoding="latin-1")
    assert chosen(cache) == "eager"
    assert list(json.loads(cache.read_text()).values()) == ["eager"]


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize("kept", ["absent", "unheard of", 3, [], None])
def test_a_choice_that_is_gone_is_made_again(tmp_path: Path, kept: object) -> None:
    cache = tmp_path / "engines.json"
    chosen(cache)
    cache.write_text(json.dumps(dict.fromkeys(json.loads(cache.read_text()), kept)))
    assert chosen(cache) == "eager"


@pytest.mark.usefixtures("three")
def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("a file where a folder should be")
    assert chosen(tmp_path / "file" / "engines.json") == "eager"
    assert "it will be timed again next time" in capsys.readouterr().out


@pytest.mark.usefixtures("three")
def test_nothing_to_keep_it_in_is_fine() -> None:
    assert chosen(None) == "eager"
