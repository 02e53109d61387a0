"""Every sound effect: loud enough, seamless as a loop, repeatable, and like itself rather than like another."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worldstream.avatars.audio.effect_words import EFFECTS, Asked, Known, UnknownSound, asked_of
from worldstream.avatars.audio.effects import LONGEST_S, SHORTEST_S, effect_of, mix, rendered
from worldstream.avatars.audio.loudness import CEILING, levelled, loudness
from worldstream.avatars.audio.spectral import FloatArray
from worldstream.avatars.audio.synthesis import RATE_HZ

LENGTH = round(0.9 * RATE_HZ)


@pytest.mark.parametrize("known", EFFECTS, ids=lambda known: known.name)
def test_a_loop_has_no_seam(known: Known) -> None:
    """The step from the last sample to the first is no larger than others, and what is heard around the seam has the
    spectrum of what is heard elsewhere: within what two other places differ."""
    made = levelled(effect_of(Asked(known), LENGTH, 3, loop=True), RATE_HZ)
    assert made.shape == (2, LENGTH)
    assert np.isfinite(made).all()
    assert 0.05 < np.abs(made).max() <= CEILING
    assert loudness(made, RATE_HZ) > -27
    around = np.roll(made, 2400, 1)  # the seam lies at 2400
    steps = np.abs(np.diff(around, axis=1))
    local = np.concatenate([steps[:, 2000:2399], steps[:, 2400:2800]], 1)
    assert steps[:, 2399].max() <= max(float(local.max()) * 1.2, 1e-3)
    bends = np.abs(np.diff(around, 2, axis=1))
    assert bends[:, 2398:2400].max() <= max(float(np.quantile(bends, 0.9999)) * 1.5, 1e-3)


def test_a_cut_loop_is_caught() -> None:
    """The check above can fail: half of a loop is none."""
    made = levelled(effect_of(asked_of("engine")[0], LENGTH, 3, loop=True), RATE_HZ)[:, : LENGTH // 2 - 777]
    around = np.roll(made, 2400, 1)
    steps = np.abs(np.diff(around, axis=1))
    local = np.concatenate([steps[:, 2000:2399], steps[:, 2400:2800]], 1)
    assert steps[:, 2399].max() > local.max() * 1.2


def _bands(made: FloatArray) -> FloatArray:
    """Levels in dB of third octaves from 50 Hz to 16 kHz."""
    power = np.square(np.abs(np.fft.rfft(made.mean(0))))
    at = np.fft.rfftfreq(made.shape[1], 1 / RATE_HZ)
    edges = 50 * 2 ** (np.arange(26) / 3)
    sums = [power[(at >= low) & (at < high)].sum() for low, high in pairwise(edges)]
    return np.asarray(10 * np.log10(np.array(sums) / power.sum() + 1e-8))


@pytest.mark.parametrize(
    ("prompt", "low_hz", "high_hz"),
    [
        ("rain", 2000, 14_000), ("deep rumbling thunder", 25, 700), ("crickets", 3500, 6000), ("birds", 1800, 7000),
        ("heartbeat", 30, 250), ("hum", 40, 700), ("glass breaking", 1500, 16_000), ("wind", 30, 1200),
        ("chimes", 600, 6000), ("explosion", 20, 2000), ("engine", 30, 900), ("church bells", 80, 2500),
    ],
)  # fmt: skip
def test_effects_sound_where_they_should(prompt: str, low_hz: float, high_hz: float) -> None:
    sound, _ = rendered(prompt, 1.2, 5)
    power = np.square(np.abs(np.fft.rfft(sound.samples))).sum(0)
    at = np.fft.rfftfreq(sound.samples.shape[1], 1 / RATE_HZ)
    assert power[(at >= low_hz) & (at <= high_hz)].sum() > 0.85 * power.sum()


def test_the_seed_is_honoured_and_others_differ() -> None:
    one, again, other = (rendered("rain and a door knock", 1.0, seed)[0].samples for seed in (1, 1, 2))
    assert np.array_equal(one, again)
    assert np.abs(one - other).max() > 0.05


def test_an_effect_does_not_change_another() -> None:
    rain = effect_of(asked_of("rain")[0], LENGTH, 1, loop=True)
    both = mix(asked_of("rain, knocking"), LENGTH / RATE_HZ, 1, loop=True)
    knock = effect_of(asked_of("knocking")[0], LENGTH, 1, loop=True)
    assert np.allclose(both, rain + knock)


@pytest.mark.parametrize(("seconds", "loop"), [(SHORTEST_S, False), (0.73, True), (1.2, False)])
def test_the_length_is_exact_and_the_level_even(seconds: float, loop: bool) -> None:
    sound, names = rendered("waves and seagulls", seconds, 1, loop)
    assert sound.samples.shape == (2, round(seconds * RATE_HZ))
    assert sound.rate_hz == 48_000
    assert names == ("waves", "seagulls")
    assert loudness(sound.samples, RATE_HZ) == pytest.approx(-16, abs=1.0)
    if not loop:
        assert np.abs(sound.samples[:, [0, -1]]).max() < 0.01


def test_steps_sound_like_their_ground() -> None:
    grounds = ("gravel", "snow", "wood", "stone", "metal")
    shapes = {ground: _bands(effect_of(asked_of(f"footsteps on {ground}")[0], 48_000, 2, True)) for ground in grounds}
    for one in grounds:
        for other in grounds:
            if one < other:
                assert np.abs(shapes[one] - shapes[other]).mean() > 3, (one, other)


def test_strength_is_heard() -> None:
    light, heavy = (effect_of(asked_of(f"{word} wind")[0], 48_000, 2, True) for word in ("gentle", "violent"))
    assert np.abs(_bands(light) - _bands(heavy)).mean() > 1


def test_stereo_is_more_than_two_times_mono() -> None:
    for prompt in ("rain", "waves", "city traffic", "thunder"):
        sound, _ = rendered(prompt, 1.0, 1)
        assert np.asarray(np.corrcoef(sound.samples))[0, 1] < 0.9, prompt


@pytest.mark.parametrize("seconds", [0.1, LONGEST_S + 0.1, float("nan")])
def test_lengths_outside_are_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match=r"lasts 0.5 to 30 s"):
        rendered("rain", seconds)


def test_a_negative_prompt_leaves_out() -> None:
    assert rendered("storm at sea", 0.5, negative="rain, birds")[1] == ("wind", "waves")
    with pytest.raises(ValueError, match="forbids every sound"):
        rendered("rain", 0.5, negative="no rain please")


WORDS = st.sampled_from(
    [
        "rain",
        "no",
        "and",
        "heavy",
        "without",
        ",",
        "(",
        "[",
        "\\",
        "sea",
        "only",
        "\0",
        "é",
        "雨",
        "steps",
        "on",
        "gravel",
        "&",
        "%s",
    ]
)


@settings(max_examples=60)
@given(st.lists(WORDS, max_size=30).map(" ".join))
def test_no_prompt_breaks_the_reading(prompt: str) -> None:
    try:
        asked = asked_of(prompt)
    except UnknownSound:
        return
    assert 1 <= len(asked) <= 6
