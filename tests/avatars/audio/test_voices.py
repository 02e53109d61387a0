"""The named voices: all there, all different, and heard to be."""

from itertools import combinations

import numpy as np
import pytest

from worldstream.avatars.audio.espeak import Espeak
from worldstream.avatars.audio.pitch import pitch_of
from worldstream.avatars.audio.spectral import FloatArray, envelopes, spectra
from worldstream.avatars.audio.voices import (
    LIVE_PRESETS,
    PRESETS,
    VARIANTS_HZ,
    voice_from_json,
    voice_named,
    voice_of_words,
    voice_to_json,
)
from worldstream.avatars.tts import Voice

# the names of the task API, in its order
NAMES = (
    "Maya Arjun Serene Bernard Billy Mark Clint Mabel Chad Leslie Eleanor Elias Elliot Grungle Brodie Sandra Kirk "
    "Kylie Lara Lisa Malachi Marlene Martin Miriam Monster Paula Pip Rusty Ragnar Xylar Maggie Jack Katie Noah James "
    "Rina Ella Mariah Frank Claudia Niki Vincent Kendrick Myrna Tom Wanda Benjamin Kiana Rachel"
)
LIVE = (
    "victoria vincent clara drew skye max morgan felix mia marcus summer ruby aurora jasper leo adrian nina emma blake "
    "david maya nathan sam georgia petra adam zach violet roman luna"
)
EVERYONE = [*PRESETS.values(), *LIVE_PRESETS.values()]


def test_every_name_of_the_api_is_a_voice() -> None:
    assert list(PRESETS) == NAMES.split()
    assert list(LIVE_PRESETS) == LIVE.split()


def test_no_two_voices_are_told_the_same() -> None:
    """Of any two, the pitch differs by half a semitone, or the throat by 2 %, or variant or accent differ."""
    for one, other in combinations(EVERYONE, 2):
        apart = abs(12 * np.log2(one.f0_hz / other.f0_hz)) > 0.5
        apart |= abs(one.timbre.formants - other.timbre.formants) > 0.02
        assert apart or (one.variant, one.accent) != (other.variant, other.accent), (one.name, other.name)
    assert all(voice.variant in VARIANTS_HZ for voice in EVERYONE)


def _heard(espeak: Espeak, voice: Voice) -> tuple[float, FloatArray]:
    """(median pitch, mean shape of the spectrum in dB without its level)."""
    said = espeak.say("We were away all day.", voice)
    magnitudes = np.abs(spectra(said.samples, 1024, 512))
    weight = magnitudes.sum(1)
    shape = (20 * np.log10(envelopes(magnitudes, said.rate_hz) + 1e-6) * weight[:, None]).sum(0) / weight.sum()
    return pitch_of(said.samples, said.rate_hz).median_hz, shape[9:230] - shape[9:230].mean()


def test_voices_are_heard_to_differ(espeak: Espeak) -> None:
    names = ("Maya", "Rachel", "Eleanor", "Serene", "luna", "Mark", "Noah", "Monster", "Pip", "Xylar")
    heard = {name: _heard(espeak, voice_named(name)) for name in names}
    for one, other in combinations(names, 2):
        pitch = abs(12 * np.log2(heard[one][0] / heard[other][0]))
        shape = float(np.abs(heard[one][1] - heard[other][1]).mean())
        assert pitch > 0.5 or shape > 1.5, (one, other, pitch, shape)
    for name in names[:7]:  # the odd ones' pitch is no plain one
        assert heard[name][0] == pytest.approx(voice_named(name).f0_hz, rel=0.12), name
    assert heard["Pip"][0] > 280
    assert heard["Monster"][0] < 70


def test_unknown_names_are_refused_with_the_known_ones() -> None:
    assert voice_named("monster") is PRESETS["Monster"]
    assert voice_named("maya") is not voice_named("Maya")
    with pytest.raises(ValueError, match="no voice 'Nobody'; there are Maya, Arjun"):
        voice_named("Nobody")


def test_voices_from_words() -> None:
    old, understood = voice_of_words("An elderly British man with a deep, raspy voice")
    assert (old.kind, old.accent) == ("man", "en")
    assert old.f0_hz < 105
    assert old.timbre.rough > 0.5
    assert {"elderly", "british", "man", "deep", "raspy"} <= set(understood)
    girl, _ = voice_of_words("a cheerful little girl")
    assert girl.f0_hz > 280
    assert voice_of_words("a cheerful little girl")[0] == girl
    assert voice_of_words("someone quite ordinary") != voice_of_words("someone rather ordinary")
    robot, _ = voice_of_words("a robot, flat and cold")
    assert robot.timbre.ring_hz > 0
    assert robot.liveliness < 30


def test_json_round_trip_and_its_bounds() -> None:
    for voice in EVERYONE:
        assert voice_from_json(voice_to_json(voice)) == voice
    assert voice_from_json({"preset": "Mark", "f0_hz": 90}).f0_hz == 90
    for bad in ({"f0_hz": 5}, {"rough": "very"}, {"formants": True}, {"variant": "../x"}, {"accent": "en; rm"}):
        with pytest.raises(ValueError, match=str(next(iter(bad)))):
            voice_from_json(bad)
