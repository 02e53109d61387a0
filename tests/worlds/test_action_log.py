"""A log that was written is read back exactly; a damaged one is refused in one line or played as far as it goes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from worldstream.worlds import action_log
from worldstream.worlds.action_log import ActionLogError, LogHeader
from worldstream.worlds.core import Action

HEADER = LogHeader("nano", "ab" * 32, "openvino f32", 4, 25.0, 7, "a forest at dusk")
NUMBERS = st.floats(-10, 10)
ACTIONS = st.builds(Action, NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS, prompt=st.none() | st.text(max_size=20))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ACTIONS, max_size=6))
def test_what_is_written_is_read(tmp_path: Path, actions: list[Action]) -> None:
    path = tmp_path / "walk.jsonl"
    action_log.write(path, HEADER, actions)
    log = action_log.read(path)
    assert log.header == HEADER
    assert log.actions == tuple(actions)
    assert log.notes == ()
    assert list(tmp_path.iterdir()) == [path]


def written(tmp_path: Path, count: int = 3) -> Path:
    path = tmp_path / "walk.jsonl"
    action_log.write(path, HEADER, [Action(forward_m=0.1 * i) for i in range(count)])
    return path


def test_a_log_that_is_cut_off_is_played_up_to_there(tmp_path: Path) -> None:
    path = written(tmp_path)
    path.write_bytes(path.read_bytes()[:-8])
    log = action_log.read(path)
    assert len(log.actions) == 2
    assert log.notes == (f"{path} ends within line 4; the 2 frames before it are played",)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("[1, 2, 3]", "five numbers"),
        ('{"forward": 1}', "five numbers"),
        ('[0, 0, "1", 0, 0]', "are numbers"),
        ("[0, 0, true, 0, 0]", "are numbers"),
        ("[0, 0, NaN, 0, 0]", "finite"),
        ("[0, 0, 0, 0, 0, 5]", "a prompt is text"),
        ("not json", "damaged"),
    ],
)
def test_damage_in_the_middle_is_named_with_its_line(tmp_path: Path, line: str, said: str) -> None:
    path = written(tmp_path)
    lines = path.read_text().splitlines()
    lines[2] = line
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(ActionLogError, match=f"line 3: .*{said}"):
        action_log.read(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not an action log"),
        (b"\xff\xfe\x00", "not text"),
        (b"[]\n", "not an action log"),
        (b'{"worldstream": "something else"}\n', "not an action log"),
        (b'{"worldstream": "action log", "version": 9}\n', "version 9"),
        (b'{"worldstream": "action log", "version": 1, "world": 3}\n', "header's world is 3"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "other"
    path.write_bytes(content)
    with pytest.raises(ActionLogError, match=said):
        action_log.read(path)


@pytest.mark.parametrize("fps", ["0", "-25", "NaN", "Infinity", "1e308"])
def test_a_rate_that_no_film_has_is_refused(tmp_path: Path, fps: str) -> None:
    path = written(tmp_path)
    path.write_text(path.read_text().replace('"fps": 25.0', f'"fps": {fps}'))
    with pytest.raises(ActionLogError, match="header's fps is"):
        action_log.read(path)


def test_a_log_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(action_log, "MOST_ACTIONS", 2)
    with pytest.raises(ActionLogError, match="cut it into parts"):
        action_log.read(written(tmp_path))


def test_the_first_line_is_json_that_names_itself(tmp_path: Path) -> None:
    first = json.loads(written(tmp_path).read_text().splitlines()[0])
    assert first["worldstream"] == "action log"
    assert first["version"] == 1


def test_the_hash_of_a_first_image_is_optional(tmp_path: Path) -> None:
    path = tmp_path / "walk.jsonl"
    begun = replace(HEADER, image_sha256="cd" * 32)
    action_log.write(path, begun, [])
    assert action_log.read(path).header == begun
    old = json.loads(path.read_text())
    del old["image_sha256"]  # as logs were before there were pictures
    path.write_text(json.dumps(old) + "\n")
    assert action_log.read(path).header == HEADER
    path.write_text(json.dumps({**old, "image_sha256": 5}) + "\n")
    with pytest.raises(ActionLogError, match="image_sha256 is 5"):
        action_log.read(path)
