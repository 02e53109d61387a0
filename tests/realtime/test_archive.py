"""Logs on disk: kept whole, found by their id alone, and gone when they are too old or too many."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldstream.realtime.archive import Archive, fresh_id
from worldstream.realtime.config import TimelineConfig
from worldstream.realtime.errors import NoSuchLog

DAY_S = 86400.0
NOW_S = 1e9


def archive(folder: Path, **changes: float) -> Archive:
    return Archive(folder, replace(TimelineConfig(), **changes), lambda: NOW_S)  # type: ignore[arg-type]


def aged(folder: Path, id: str, days: float) -> None:
    written_s = NOW_S - days * DAY_S
    os.utime(folder / f"{id}.jsonl", (written_s, written_s))


def test_what_is_kept_is_found_and_replaced_whole(tmp_path: Path) -> None:
    kept = archive(tmp_path / "sessions")
    id = fresh_id()
    kept.keep(id, b"one")
    kept.keep(id, b"two")
    assert kept.load(id) == b"two"
    assert [path.name for path in (tmp_path / "sessions").iterdir()] == [f"{id}.jsonl"]


@pytest.mark.parametrize(
    "id", ["unknown-id", "", "../../etc/passwd", "a/b", "x" * 65, "short", "..", "a\0b", "ünïcodé-id"]
)
def test_an_unknown_id_is_just_unknown(tmp_path: Path, id: str) -> None:
    with pytest.raises(NoSuchLog, match="not kept here, or no longer"):
        archive(tmp_path).load(id)


@given(st.text(max_size=80))
def test_no_id_leaves_the_folder(id: str) -> None:
    with pytest.raises(NoSuchLog):
        archive(Path("/nowhere")).load(id)


def test_the_old_is_let_go(tmp_path: Path) -> None:
    kept = archive(tmp_path, archive_days=7)
    for id, days in (("week-old", 6.9), ("too-old-1", 7.1)):
        kept.keep(id, b"x")
        aged(tmp_path, id, days)
    assert kept.load("week-old") == b"x"
    with pytest.raises(NoSuchLog):
        kept.load("too-old-1")
    kept.prune()
    assert [path.stem for path in tmp_path.iterdir()] == ["week-old"]


def test_the_oldest_makes_room(tmp_path: Path) -> None:
    kept = archive(tmp_path, archive_bytes=250)
    for age, id in ((3, "first-log"), (2, "second-log"), (1, "third-log")):
        kept.keep(id, b"x" * 100)
        aged(tmp_path, id, age)
    kept.prune()
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["second-log", "third-log"]
    few = archive(tmp_path, archive_logs=1)
    few.prune()
    assert [path.stem for path in tmp_path.iterdir()] == ["third-log"]


def test_a_folder_that_cannot_be_written_leaves_nothing_half(tmp_path: Path) -> None:
    (tmp_path / "sessions").write_text("a file where the folder should be")
    with pytest.raises(OSError, match="sessions"):
        archive(tmp_path / "sessions").keep("some-log-1", b"x")


def test_ids_do_not_repeat() -> None:
    ids = {fresh_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert min(len(id) for id in ids) >= 16
