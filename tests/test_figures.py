"""Figures beside others: what the table and the README's table show of ceiling, copying and memory off."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pytest

from benchmarks.quality_figures import PROMISED, figure, reading_figures
from benchmarks.readme import rows_of
from benchmarks.report import Figure, at_least, between, print_table, with_earlier, write
from worldstream.worlds.training.likeness import Reading


def test_between_promises_both_ends() -> None:
    assert [between("x", v, "", 0.85, 1.15).met for v in (0.8, 0.85, 1.0, 1.15, 1.2)] == [
        False,
        True,
        True,
        True,
        False,
    ]
    assert between("x", 1.0, "", 0.85, 1.15).target == "0.85–1.15"


def test_a_reading_gets_the_target_of_its_name() -> None:
    gain = figure("360° turn: gain of memory", Reading(3.9, "dB"))
    assert (gain.target, gain.met) == ("≥ 4 dB", False)
    assert figure("360° turn: gain of memory", Reading(4.1, "dB")).met
    assert figure("something else", Reading(1.0, "", 0.9, 0.8, 0.7)).target is None
    sharp = figure("90° turn, what it reveals: sharpness", Reading(1.3, "", 1.0))
    assert (sharp.met, sharp.ceiling) == (False, 1.0)


def test_what_could_not_be_measured_is_left_out() -> None:
    assert reading_figures({"a": Reading(float("nan")), "b": Reading(1.0)}) == [figure("b", Reading(1.0))]


def test_the_promises_of_the_issue_are_all_named() -> None:
    for part in ("rollout of 16", "rollout of 64", "360° turn", "10 m out", "90° turn", "drift", "prompt adherence"):
        assert any(name.startswith(part) for name in PROMISED), part


def test_the_readme_shows_the_others_beside_the_value() -> None:
    plain = asdict(at_least("speed", 3.0, "fps", 2.0))
    assert rows_of("run", [plain])[2] == "| speed | 3 fps | ≥ 2 fps | met |"
    rich = asdict(replace(at_least("loop", 3.0, "dB", 4.0), ceiling=31.25, memory_off=2.0))
    rows = rows_of("run", [plain, rich])
    assert rows[0] == "| `run` | measured | ceiling | memory off | target | |"
    assert rows[1].count("---") == 6
    assert rows[2] == "| speed | 3 fps |  |  | ≥ 2 fps | met |"
    assert rows[3] == "| loop | 3 dB | 31.2 | 2 | ≥ 4 dB | **missed** |"
    assert not any("copy last" in row for row in rows)


def test_the_printed_table_has_a_column_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([replace(at_least("loop", 3.0, "dB", 4.0), ceiling=31.25)])
    head, row = capsys.readouterr().out.splitlines()[:2]
    assert "ceiling" in head
    assert "memory off" not in head
    assert "31.2" in row
    assert row.endswith("NO")


def test_parts_measured_apart_stand_together_where_they_are_of_one_world(tmp_path: Path) -> None:
    path, old, new = tmp_path / "quality.json", Figure("a", 1.0, "dB"), Figure("a", 2.0, "dB")
    other = Figure("b", 3.0, "")
    assert with_earlier(path, [new], "nano 1") == [new], "nothing was measured before"
    write(path, [old, other], {"world": "nano 1"})
    assert with_earlier(path, [new], "nano 1") == [other, new]
    assert with_earlier(path, [new], "nano 2") == [new], "another world's figures are not this one's"
