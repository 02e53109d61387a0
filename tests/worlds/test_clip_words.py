"""What a clip's words come to: scenes, moments, camera moves, references."""

from __future__ import annotations

import pytest

from worldstream.worlds.clip_words import Moment, Seen, read_words


def moves(prompt: str, camera: str = "", seconds: float = 6.0) -> list[tuple[str, float, float]]:
    return [(m.name, m.start_s, m.end_s) for m in read_words(prompt, seconds, camera).moves]


def test_a_long_prompt_comes_down_to_the_words_that_are_known() -> None:
    read = read_words("A breathtaking shot, 35mm, of an astronaut in a misty forest at dawn", 5.0)
    assert read.prompt == "misty, forest, dawn"
    assert any("breathtaking" in note and "astronaut" in note for note in read.notes)
    assert not any("shot" in note for note in read.notes)


def test_worlds_that_read_any_words_get_them_as_they_are() -> None:
    read = read_words("A lighthouse keeper waves. [00:02] He turns around", 5.0, limited=False)
    assert read.prompt == "A lighthouse keeper waves."
    assert read.moments == (Moment(2.0, "He turns around"),)
    assert read.notes == ()


@pytest.mark.parametrize(
    ("prompt", "found"),
    [
        ("a forest, the camera slowly rises", ["pedestal up"]),
        ("a forest. Slow dolly in", ["dolly in"]),
        ("a forest; pan to the left", ["pan left"]),
        ("handheld, a forest", ["handheld"]),
    ],
)
def test_camera_language_in_a_prompt_is_followed(prompt: str, found: list[str]) -> None:
    assert [name for name, _, _ in moves(prompt)] == found


@pytest.mark.parametrize("prompt", ["rolling hills", "a rising sun", "people walk in a forest", "turning leaves", ""])
def test_words_that_are_no_camera_language_move_nothing_but_the_usual(prompt: str) -> None:
    read = read_words(prompt, 5.0)
    assert not read.camera_said
    assert [m.name for m in read.moves] == ["dolly in"]


def test_stamps_in_a_prompt_time_moves_and_words() -> None:
    read = read_words("a forest at noon [00:02] pan left, it is night [00:04] the camera pushes in", 6.0)
    assert read.moments == (Moment(2.0, "night, forest"),)
    assert [(m.name, m.start_s, m.end_s) for m in read.moves] == [("pan left", 2.0, 4.0), ("dolly in", 4.0, 6.0)]


def test_the_cameras_own_words_go_before_those_in_the_prompt() -> None:
    assert moves("a forest, pan left", "[00:01] tilt up") == [("tilt up", 1.0, 6.0)]


def test_what_later_words_do_not_mention_stays() -> None:
    read = read_words("misty forest at dawn", 6.0, moments=[Moment(3.0, "at night"), Moment(5.0, "desert")])
    assert read.moments == (Moment(3.0, "night, forest, misty"), Moment(5.0, "desert, night, misty"))


def test_a_stamp_beyond_the_end_is_said_and_a_moment_there_refused() -> None:
    assert any("9 s" in note for note in read_words("forest [00:09] desert", 5.0).notes)
    with pytest.raises(ValueError, match="not at 7 s"):
        read_words("forest", 5.0, moments=[Moment(7.0, "desert")])


HERO = Seen("hero", "desert, dusk, clear, warm")


def test_a_tag_stands_for_what_its_picture_shows_less_what_is_said() -> None:
    read = read_words("@hero at night, in the style of @nobody", 5.0, references=[HERO, Seen("other", "canyon")])
    assert read.prompt == "desert, clear, warm, night"
    assert any(note.startswith("@hero is read as 'desert, clear, warm'") for note in read.notes)
    assert any("no reference @nobody" in note for note in read.notes)
    assert any("@other" in note and "not used" in note for note in read.notes)


def test_without_tags_the_first_reference_fills_what_is_left_open() -> None:
    read = read_words("a foggy place", 5.0, references=[Seen("", "canyon, noon"), Seen("", "desert")])
    assert read.prompt == "foggy, canyon, noon"


def test_a_first_picture_fills_what_is_left_open() -> None:
    read = read_words("a dog runs, at night", 5.0, first=Seen("the first frame", "forest, noon, misty"))
    assert read.prompt == "night, forest, misty"
    assert any("the first frame is read as 'forest, misty'" in note for note in read.notes)


def test_a_reference_that_cannot_be_read_is_said() -> None:
    read = read_words("@hero on a beach", 5.0, references=[Seen("hero", "")], limited=False)
    assert "@" not in read.prompt
    assert any("cannot say what @hero shows" in note for note in read.notes)
