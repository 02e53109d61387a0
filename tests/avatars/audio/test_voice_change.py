"""Speech to speech: the target's pitch and throat, the speaker's words and timing."""

import numpy as np
import pytest

from tests.avatars.audio.test_timbre import formant_shift
from worldstream.avatars.audio.espeak import Espeak
from worldstream.avatars.audio.matching import matched, tilt_of
from worldstream.avatars.audio.pitch import pitch_of
from worldstream.avatars.audio.spectral import FloatArray, Signal
from worldstream.avatars.audio.timbre import Timbre, timbred
from worldstream.avatars.audio.voice_change import throat_at, voice_changed
from worldstream.avatars.audio.voices import voice_named
from worldstream.avatars.tts import Speech


def _loudness(samples: Signal) -> FloatArray:
    whole = len(samples) // 441 * 441
    return np.asarray(np.sqrt(np.square(samples[:whole].reshape(-1, 441)).mean(1)), np.float64)


@pytest.mark.parametrize(
    ("source", "target"), [("man", "Maya"), ("woman", "Mark"), ("woman", "Pip"), ("man", "Ragnar")]
)
def test_the_target_is_reached_and_the_timing_kept(man: Speech, woman: Speech, source: str, target: str) -> None:
    speech, voice = {"man": man, "woman": woman}[source], voice_named(target)
    made, measured = voice_changed(speech.samples, speech.rate_hz, voice)
    assert made.shape == speech.samples.shape
    assert pitch_of(made, speech.rate_hz).median_hz == pytest.approx(voice.f0_hz, rel=0.05)
    assert formant_shift(speech.samples, made) == pytest.approx(measured["formants"], abs=0.06)
    assert np.corrcoef(_loudness(speech.samples), _loudness(made))[0, 1] > 0.85
    assert np.square(made).mean() == pytest.approx(np.square(speech.samples).mean(), rel=0.05)


def test_the_throat_follows_the_pitch() -> None:
    assert throat_at(110) == pytest.approx(1.0)
    assert throat_at(200) == pytest.approx(1.17)
    assert throat_at(60) >= 0.85
    assert throat_at(500) <= 1.35


@pytest.mark.parametrize("kind", ["silence", "noise"])
def test_where_nobody_speaks_there_is_nothing_to_change(kind: str) -> None:
    signal = np.zeros(22_050) if kind == "silence" else np.random.default_rng(0).standard_normal(22_050) * 0.1
    with pytest.raises(ValueError, match="no voice was found"):
        voice_changed(signal, 22_050, voice_named("Maya"))
    with pytest.raises(ValueError, match="no voice was found"):
        matched(signal, 22_050)


def test_a_matched_voice_has_the_references_pitch_and_tilt(espeak: Espeak, woman: Speech) -> None:
    """The reference is a darker Maya at another pitch, in other words."""
    reference = espeak.say("Could you tell me how far it is to the station?", voice_named("Katie"), semitones=-2.0)
    dark = timbred(reference.samples, reference.rate_hz, Timbre(tilt_db=-3.0))
    voice, measured = matched(dark, reference.rate_hz)
    assert voice.kind == "woman"
    assert voice.f0_hz == pytest.approx(pitch_of(dark, reference.rate_hz).median_hz)
    said = espeak.say("We were away all day, and nobody was at home.", voice)
    assert pitch_of(said.samples, said.rate_hz).median_hz == pytest.approx(voice.f0_hz, rel=0.08)
    plain = abs(tilt_of(woman.samples, woman.rate_hz) - measured["tilt_db_per_octave"])
    assert abs(tilt_of(said.samples, said.rate_hz) - measured["tilt_db_per_octave"]) < 0.6 * plain


def test_a_reference_that_is_too_short_is_refused(man: Speech) -> None:
    with pytest.raises(ValueError, match=r"0\.45 s long; at least 1 s"):
        matched(man.samples[: int(0.45 * man.rate_hz)], man.rate_hz)
