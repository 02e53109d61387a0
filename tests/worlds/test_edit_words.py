"""What prompts ask of a video."""

from __future__ import annotations

import pytest

from worldstream.worlds.edit_words import operation_of, wish
from worldstream.worlds.procedural.attributes import THEMES, TIMES


def test_what_is_not_named_is_as_the_picture_has_it() -> None:
    w = wish("make it night")
    assert w.named == ("night",)
    assert w.prompt("forest, noon, clear") == "forest, night, clear"
    assert w.whole("forest, noon, clear").time == TIMES.index("night")
    assert w.whole("forest, noon, clear").theme is None  # nobody asked for another: the ground stays as it is
    assert w.now("forest, noon").time == TIMES.index("noon")


def test_a_season_is_the_look_of_a_theme() -> None:
    w = wish("cover everything in snow")
    assert w.whole("forest, noon").theme == THEMES.index("snowy pines")
    assert w.now("forest, noon").theme == THEMES.index("forest")


def test_a_relight_keeps_the_theme_whatever_the_words_say() -> None:
    assert wish("desert light at dusk", "relight").named == ("dusk",)


def test_words_that_nobody_taught_are_named() -> None:
    notes = wish("xylophone night").notes()
    assert any("xylophone" in note for note in notes)
    assert any("little will change" in note for note in wish("xylophone").notes())


@pytest.mark.parametrize(
    ("prompt", "operation"),
    [
        ("remove the car", "remove"), ("a clean plate, please", "clean_plate"), ("put it on a green screen", "green"),
        ("show another angle", "angle"), ("replace the background with a canyon", "background"), ("at night", ""),
    ],
)  # fmt: skip
def test_words_say_what_is_to_be_done(prompt: str, operation: str) -> None:
    assert operation_of(prompt) == operation
