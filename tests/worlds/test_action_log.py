"""A log that was written is read back exactly; a damaged one is refused in one line or played as far as it goes."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from worldstream.worlds import action_log
from worldstream.worlds.action_log import ActionLog, ActionLogError, LogHeader
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


def test_steps_that_change_are_kept_and_older_programs_are_told(tmp_path: Path) -> None:
    path = tmp_path / "walk.jsonl"
    walked = [Action(forward_m=0.1 * i) for i in range(6)]
    action_log.write(path, HEADER, walked, [(0, 2), (3, 1)])
    log = action_log.read(path)
    assert log.changes == ((0, 2), (3, 1))
    assert [steps for _, steps in action_log.stepped(log)] == [2, 2, 2, 1, 1, 1]
    assert log.actions == tuple(walked)
    assert log.header.version == 2
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0].replace('"version": 2', '"version": 1'), *lines[1:]]) + "\n")
    with pytest.raises(ActionLogError, match="line 2: an action is five numbers"):
        action_log.read(path)


@pytest.mark.parametrize(
    "line",
    ['{"steps": 0}', '{"steps": 1001}', '{"steps": true}', '{"steps": 2.5}', '{"jump": 1}', '{"steps": 2, "x": 1}'],
)
def test_events_that_no_program_wrote_are_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "walk.jsonl"
    action_log.write(path, HEADER, [Action()], [(0, 2)])
    path.write_text(path.read_text().replace('{"steps": 2}', line))
    with pytest.raises(ActionLogError, match="line 2: an event is the number of steps from 1 to 1000"):
        action_log.read(path)


def test_absurd_numbers_in_the_header_are_named(tmp_path: Path) -> None:
    for field, old, new in (("seed", "7", "-1"), ("seed", "7", "9" * 400), ("steps", "4", "0"), ("steps", "4", "5000")):
        path = written(tmp_path)
        path.write_text(path.read_text().replace(f'"{field}": {old}', f'"{field}": {new}'))
        with pytest.raises(ActionLogError, match=f"the header's {field} is") as caught:
            action_log.read(path)
        assert len(str(caught.value)) < 400


def test_a_number_beyond_all_floats_is_damage(tmp_path: Path) -> None:
    path = written(tmp_path)
    path.write_text(path.read_text().replace("[0.0,", "[" + "9" * 400 + ",", 1))
    with pytest.raises(ActionLogError, match=r"line 2: .*finite"):
        action_log.read(path)


def test_a_file_of_gigabytes_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    with path.open("wb") as file:
        file.truncate(3 * 2**30)  # sparse: takes no room
    with pytest.raises(ActionLogError, match="holds 3221225472 bytes, more than"):
        action_log.read(path)


class OneLine(Exception):
    """The log was refused, in a line that a person reads."""


def parsed(content: bytes) -> ActionLog:
    try:
        return action_log.parse(content, "x")
    except ActionLogError as error:
        if not str(error).startswith("x") or len(str(error)) >= 400:
            raise
        raise OneLine from error


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_whatever_the_bytes_the_answer_is_a_log_or_one_line(content: bytes) -> None:
    with suppress(OneLine):
        parsed(content)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=7) | st.dictionaries(st.sampled_from(["steps", "x"]), inner, max_size=2),
    max_leaves=10,
)


@settings(max_examples=100, deadline=None)
@given(st.lists(JSON, max_size=4), st.dictionaries(st.sampled_from(list(action_log.REQUIRED)), JSON, max_size=3))
def test_whatever_the_json_the_answer_is_a_log_or_one_line(lines: list[object], changed: dict[str, object]) -> None:
    header = json.loads(action_log.encoded_header(HEADER, 2))
    text = "\n".join(json.dumps(line) for line in [{**header, **changed}, *lines]) + "\n"
    try:
        log = parsed(text.encode())
    except OneLine:
        return
    assert len(log.actions) + len(log.changes) <= len(lines)
    assert all(1 <= steps <= 1000 for _, steps in action_log.stepped(log))


def test_prompts_may_hold_any_line_separator(tmp_path: Path) -> None:
    path = tmp_path / "walk.jsonl"
    raw = json.dumps([0, 0, 0, 0, 0, "a\u2028b\x85c"], ensure_ascii=False)
    path.write_text(written(tmp_path, 0).read_text() + raw + "\n", encoding="utf-8")
    assert action_log.read(path).actions[0].prompt == "a\u2028b\x85c"


def test_a_long_log_is_parsed_in_slices() -> None:
    breaths = []
    text = "\n".join([action_log.encoded_header(HEADER, 1), *[action_log.encoded(Action())] * 1000]) + "\n"
    lines = action_log.text_lines(text.encode(), "x")
    assert len(list(action_log.entries(lines, 1, "x", [], lambda: breaths.append(1)))) == 1000
    assert len(breaths) == 5


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
