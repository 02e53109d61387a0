"""What prompts ask for."""

import pytest

from worldstream.avatars.audio.effect_words import EFFECTS, UnknownSound, asked_of, unwanted_of


@pytest.mark.parametrize(
    ("prompt", "names"),
    [
        ("heavy rain on a tin roof", ["rain"]),
        ("A thunderstorm", ["rain", "thunder"]),
        ("waves on a beach with seagulls", ["waves", "seagulls"]),
        ("footsteps on gravel", ["steps"]),
        ("walking through snow, wind howling", ["steps", "wind"]),
        ("a busy city street with sirens", ["alarm", "traffic"]),
        ("campfire crackling and crickets", ["fire", "crickets"]),
        ("church bells", ["bells"]),
        ("wind chimes", ["wind", "chimes"]),
        ("steam train with a whistle", ["train"]),
        ("a fire without wind", ["fire"]),
        ("rain but no thunder", ["rain"]),
        ("knock on a wooden door", ["knock"]),
        ("a babbling brook", ["stream"]),
        ("GLASS SHATTERING!!!", ["glass"]),
        ("car engine idling", ["engine", "traffic"]),
        ("spaceship drone", ["space hum"]),
        ("people talking in a restaurant", ["crowd"]),
        ("ticking clock", ["clock"]),
        ("sword clash", ["clang"]),
    ],
)
def test_prompts(prompt: str, names: list[str]) -> None:
    found = [asked.known.name for asked in asked_of(prompt)]
    assert sorted(found) == sorted(names)


def test_how_strong_how_loud_how_fast() -> None:
    (heavy,) = asked_of("torrential rain")
    (light,) = asked_of("light rain")
    assert heavy.strength > 0.9
    assert light.strength < 0.3
    rain, thunder = asked_of("heavy rain and distant thunder")
    assert (rain.known.name, thunder.known.name) == ("rain", "thunder")
    assert rain.strength > 0.7 > thunder.strength
    assert thunder.level_db < rain.level_db
    assert asked_of("slow footsteps")[0].pace < 1 < asked_of("rapid heartbeat")[0].pace


def test_the_ground_may_stand_in_another_clause() -> None:
    steps = next(a for a in asked_of("someone walks, and the gravel crunches") if a.known.name == "steps")
    assert "gravel" in steps.words


@pytest.mark.parametrize("prompt", ["", "   ", "a purple thought", "no rain", "xyzzy 123", "🙂"])
def test_what_is_not_known_is_refused_and_the_known_are_listed(prompt: str) -> None:
    with pytest.raises(UnknownSound) as caught:
        asked_of(prompt)
    for known in EFFECTS:
        assert known.name in str(caught.value)


def test_not_more_than_six_at_once() -> None:
    assert len(asked_of(", ".join(known.name for known in EFFECTS))) == 6


def test_every_name_asks_for_itself() -> None:
    for known in EFFECTS:
        assert known.name in [asked.known.name for asked in asked_of(known.name)], known.name


def test_negative_prompts_name_effects_too() -> None:
    assert unwanted_of("birdsong, any traffic") == {"birds", "traffic"}
    assert unwanted_of("nothing of the kind") == frozenset()
