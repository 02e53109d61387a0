"""The sound of a film: what is seen is heard, when it is seen."""

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from worldstream.avatars.audio.loudness import loudness
from worldstream.avatars.audio.sightings import Sighting, Watched, watched
from worldstream.avatars.audio.soundtrack import NothingSeen, beside_speech, sound_of, variants
from worldstream.avatars.audio.synthesis import RATE_HZ
from worldstream.worlds.core import Sight
from worldstream.worlds.judge import Judge, load_judge
from worldstream.worlds.media.sound import Sound
from worldstream.worlds.procedural.attributes import THEMES
from worldstream.worlds.weights import SHIPPED


class Eye:
    """A viewer that reads the caption's number from the first pixel."""

    def __init__(self, *captions: str, confidence: float = 0.9, distance: float = 0.3) -> None:
        self._captions, self._confidence, self._distance = captions, confidence, distance
        self.looks = 0

    def look(self, rgb: NDArray[np.uint8]) -> Sight:
        assert rgb.shape == (40, 64, 3)
        self.looks += 1
        return Sight(self._captions[int(rgb[0, 0, 0])], self._confidence, self._distance)


@pytest.fixture(autouse=True)
def _short_tails(monkeypatch: pytest.MonkeyPatch) -> None:
    """What rings on beyond the end costs time and is heard by nobody."""
    monkeypatch.setattr("worldstream.avatars.audio.effects.TAIL_S", 0.2)


def film(*kinds: int, seconds: float = 2.0, fps: int = 10) -> Iterator[NDArray[np.uint8]]:
    for kind in kinds:
        for _ in range(round(seconds * fps)):
            yield np.full((40, 64, 3), kind, np.uint8)


def seen(theme: str = "", time: str = "noon", speed: float = 0.0, seconds: float = 1.5) -> Watched:
    sightings = tuple(Sighting(float(at), theme, time, "clear", 0.9, True) for at in range(max(int(seconds), 1)))
    times = tuple(np.arange(0.2, seconds, 0.5).tolist())
    return Watched(seconds, sightings, times, (speed,) * len(times), (0.2,) * len(times))


@pytest.mark.parametrize("theme", THEMES)
def test_every_place_is_heard(theme: str) -> None:
    made = sound_of(seen(theme, seconds=0.5), seed=1)
    assert made.effects
    assert made.notes == ()
    assert made.sound.samples.shape == (2, RATE_HZ // 2)
    assert loudness(made.sound.samples, RATE_HZ) == pytest.approx(-16, abs=1.5)


def test_night_is_heard() -> None:
    assert "birds" in sound_of(seen("forest", "noon", seconds=0.5)).effects
    night = sound_of(seen("forest", "night", seconds=0.5)).effects
    assert "birds" not in night
    assert "crickets" in night


def test_the_length_is_the_films_and_the_looks_are_one_a_second() -> None:
    eye = Eye("canyon, night")
    made = sound_of(watched(film(0, seconds=1.3), 10, eye), seed=4).sound
    assert made.samples.shape == (2, round(1.3 * RATE_HZ))
    assert eye.looks == 2
    again = sound_of(watched(film(0, seconds=1.3), 10, Eye("canyon, night")), seed=4).sound
    assert np.array_equal(made.samples, again.samples)
    other = sound_of(watched(film(0, seconds=1.3), 10, Eye("canyon, night")), seed=5).sound
    assert not np.array_equal(made.samples, other.samples)


def test_frames_of_another_size_are_brought_to_the_viewers() -> None:
    frames = (np.zeros((90, 160, 3), np.uint8) for _ in range(10))
    assert watched(frames, 10, Eye("desert"), size=(64, 40)).seconds == 1.0


def test_a_change_of_place_is_followed() -> None:
    """Two seconds of a cave, two of a desert: drops in the first half, wind in the second."""
    made = sound_of(watched(film(0, 1, seconds=2.0), 10, Eye("dungeon", "snowy pines")), seed=1).sound
    power = np.square(np.abs(np.fft.rfft(made.samples.reshape(2, 2, -1), axis=-1))).sum(0)  # [half, bin]
    at = np.fft.rfftfreq(2 * RATE_HZ, 1 / RATE_HZ)
    wind = (at > 150) & (at < 600)
    drips = (at > 700) & (at < 3000)
    share = power[:, wind].sum(1) / power[:, drips].sum(1)
    assert share[1] > 5 * share[0]


def test_steps_are_heard_where_somebody_walks() -> None:
    assert "steps" not in sound_of(seen("canyon", speed=0.0)).effects
    walking = sound_of(seen("canyon", speed=7.5), seed=1)
    assert "steps" in walking.effects
    assert "steps" not in sound_of(seen("canyon", speed=7.5), negative="footsteps").effects


def test_words_add_and_only_words_take_over() -> None:
    assert {"rain", "wind"} <= set(sound_of(seen("desert"), "heavy rain").effects)
    assert sound_of(seen("desert", speed=7.5), "only rain").effects == ("rain",)
    assert "birds" not in sound_of(seen("forest"), negative="birds").effects
    odd = sound_of(seen("desert"), "a purple thought")
    assert odd.effects == ("wind",)
    assert "no sound is known" in odd.notes[0]


def test_where_nothing_is_seen_or_said_it_is_refused() -> None:
    with pytest.raises(NothingSeen, match="promptText"):
        sound_of(seen(""))
    with pytest.raises(NothingSeen):
        sound_of(watched(film(0), 10, Eye("forest", confidence=0.2)))
    assert sound_of(seen(""), "waves").effects == ("waves",)
    with pytest.raises(ValueError, match="no frames"):
        watched(iter(()), 10, Eye("forest"))


def test_unfamiliar_films_are_noted() -> None:
    found = watched(film(0), 10, Eye("canyon", distance=3.0))
    assert "may be wrong" in sound_of(found).notes[0]


@pytest.fixture(scope="module")
def judge() -> Judge:
    return load_judge(SHIPPED)


def test_walking_is_read_from_the_motion(judge: Judge) -> None:
    """A texture that comes closer is walked towards; one that stands still is not."""
    dice = np.random.default_rng(0)
    texture = np.repeat(np.repeat(dice.integers(0, 255, (20, 32, 3), np.uint8), 8, 0), 8, 1)

    def zoomed(rate: float) -> Iterator[NDArray[np.uint8]]:
        for index in range(25):
            cut = round(index * rate)
            part = texture[cut : 160 - cut, cut * 256 // 160 : 256 - cut * 256 // 160]
            rows = np.linspace(0, part.shape[0] - 1, 40).astype(int)
            columns = np.linspace(0, part.shape[1] - 1, 64).astype(int)
            yield np.ascontiguousarray(part[rows][:, columns])

    still = watched(zoomed(0.0), 25, Eye(*["forest"] * 256), judge)
    assert still.speeds == (0.0,) * len(still.speeds)
    assert max(watched(zoomed(1.5), 25, Eye(*["forest"] * 256), judge).speeds) > 1.0


def test_long_films_go_round_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worldstream.avatars.audio.soundtrack.CIRCLE_S", 1.0)
    made = sound_of(seen("desert", seconds=3.0), seed=1)
    assert made.sound.samples.shape == (2, 3 * RATE_HZ)
    steps = np.abs(np.diff(made.sound.samples, axis=1))
    for seam in (RATE_HZ, 2 * RATE_HZ):
        assert steps[:, seam - 1].max() < np.quantile(steps, 0.9999)
    second, third = made.sound.samples[0].reshape(3, -1)[1:]
    assert np.corrcoef(second, third)[0, 1] > 0.95  # the same circle, at another wind


def test_speech_stands_above_the_effects() -> None:
    """Effects step back by 9 dB while somebody speaks."""
    effects = Sound(np.random.default_rng(0).standard_normal((2, RATE_HZ * 3)).astype(np.float32) * 0.1, RATE_HZ)
    voice = np.zeros((1, 16_000 * 3), np.float32)
    voice[0, 16_000:32_000] = 0.3 * np.sin(2 * np.pi * 200 * np.arange(16_000) / 16_000)
    made = beside_speech(effects, voice, 16_000).samples
    power = np.square(np.abs(np.fft.rfft(made[0].reshape(3, -1), axis=1)))[:, 1000:].sum(1)  # without the voice
    assert 10 * np.log10(power[0] / power[1]) == pytest.approx(9, abs=1.0)


def test_variants() -> None:
    assert variants(5, 3)[0] == 5
    assert len(set(variants(5, 3))) == 3
