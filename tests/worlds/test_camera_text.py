"""Camera moves in words, with and without times, and words that are none."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worldstream.worlds.camera_moves import MOVES
from worldstream.worlds.camera_text import MOST_CHARS, parse


def said(text: str, duration_s: float = 6.0) -> list[tuple[str, float, float, float]]:
    return [(m.name, m.start_s, m.end_s, m.speed) for m in parse(text, duration_s).moves]


@pytest.mark.parametrize("name", list(MOVES))
def test_every_move_answers_to_its_name(name: str) -> None:
    assert said(name) == [(name, 0.0, 6.0, 1.0)]


@pytest.mark.parametrize(
    ("text", "name", "speed"),
    [
        ("The camera pushes in slowly.", "dolly in", 0.5),
        ("slow push in", "dolly in", 0.5),
        ("camera pulls back quickly", "dolly out", 2.0),
        ("it walks forward", "dolly in", 1.0),
        ("moves to the left", "truck left", 1.0),
        ("strafing right", "truck right", 1.0),
        ("rises gently", "pedestal up", 0.5),
        ("lowers", "pedestal down", 1.0),
        ("a whip pan to the left", "pan left", 4.0),
        ("looks down", "tilt down", 1.0),
        ("circles clockwise", "orbit right", 1.0),
        ("Locked-off shot", "static", 1.0),
        ("hand-held", "handheld", 1.0),
    ],
)
def test_people_say_it_in_many_ways(text: str, name: str, speed: float) -> None:
    assert said(text) == [(name, 0.0, 6.0, speed)]


def test_stamps_divide_the_time() -> None:
    text = "[00:01] camera pans left … [00:03.5] camera pushes in slowly"
    assert said(text) == [("pan left", 1.0, 3.5, 1.0), ("dolly in", 3.5, 6.0, 0.5)]
    assert said("static [00:02] tilts up") == [("static", 0.0, 2.0, 1.0), ("tilt up", 2.0, 6.0, 1.0)]
    assert said("[0:00] zooms out") == [("zoom out", 0.0, 6.0, 1.0)]


def test_then_comes_after_and_while_comes_along() -> None:
    assert said("pans left, then tilts up") == [("pan left", 0.0, 3.0, 1.0), ("tilt up", 3.0, 6.0, 1.0)]
    assert said("dollies in while panning right") == [("dolly in", 0.0, 6.0, 1.0), ("pan right", 0.0, 6.0, 1.0)]


def test_words_that_are_no_move_are_said_and_do_nothing() -> None:
    script = parse("[00:01] a dragon appears [00:02] pan left", 4.0)
    assert [m.name for m in script.moves] == ["pan left"]
    assert script.notes == ("no camera move in 'a dragon appears': the camera holds still",)
    assert parse("", 4.0).moves == ()
    assert parse(" … ", 4.0).notes == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[00:03] pan left [00:01] pan right", r"\[00:01\] comes after 3 s in the text but not in time"),
        ("[00:02] pan left [00:02] pan right", "put the times in order"),
        ("[00:09] pan left", r"not before the end, 6 s"),
        ("[00:75] pan left", "seconds end at 59"),
        ("x" * (MOST_CHARS + 1), "shorten it"),
    ],
)
def test_contradictory_times_are_named(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse(text, 6.0)


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from("[]:0123456789. panleftdollyinthen;\n…"), max_size=80) | st.text(max_size=200))
def test_any_text_gives_moves_in_time_or_one_error(text: str) -> None:
    try:
        script = parse(text, 10.0)
    except ValueError:
        return
    for move in script.moves:
        assert 0.0 <= move.start_s < move.end_s <= 10.0 + 1e-9
