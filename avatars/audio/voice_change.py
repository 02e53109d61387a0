"""Speech to speech: what somebody said, at the pitch and with the throat of another voice; words and timing are kept.

Arithmetic, not a model: the melody is moved to the target's median pitch and liveliness (PSOLA), the spectral envelope
is stretched to the target's throat, and the target's own oddities are added. The accent and the way of speaking stay
the speaker's.
"""

from __future__ import annotations

from math import log2

import numpy as np

from ..tts import Voice
from .matching import tilt_of
from .pitch import Pitch, pitch_of, repitched
from .spectral import FloatArray, Signal
from .timbre import Timbre, level_of, timbred

MAN_HZ, WOMAN_HZ, WOMAN_THROAT = 110.0, 200.0, 1.17
USUAL_SPREAD = 1.6  # semitones at liveliness 50
QUIETEST = 1e-4
MOST_TILT_DB = 6.0  # per octave


def throat_at(f0_hz: float) -> float:
    """Formants relative to a grown man's that usually go with a pitch; 0.85..1.35."""
    return float(np.clip(1 + (WOMAN_THROAT - 1) * log2(f0_hz / MAN_HZ) / log2(WOMAN_HZ / MAN_HZ), 0.85, 1.35))


def voice_changed(samples: Signal, rate_hz: int, voice: Voice) -> tuple[FloatArray, dict[str, float]]:
    """(mono speech `[n]` in another voice, what was measured). Raises ValueError when nobody speaks in it."""
    signal = np.asarray(samples, np.float64)
    level = level_of(signal)
    pitch = pitch_of(signal, rate_hz)
    if level < QUIETEST or not pitch.median_hz:
        raise ValueError("no voice was found in the recording; give one in which somebody speaks clearly")
    middle_hz = pitch.median_hz
    wanted = _melody(pitch, voice)
    moved = repitched(signal, rate_hz, pitch, wanted)
    factor = float(np.clip(voice.throat / throat_at(middle_hz), 0.55, 1.8))
    target = voice.timbre
    tilt = target.tilt_db
    if voice.tilt_db is not None:  # a matched voice: the recording's brightness, as far as that goes
        tilt += float(np.clip(voice.tilt_db - tilt_of(moved, rate_hz), -MOST_TILT_DB, MOST_TILT_DB))
    timbre = Timbre(factor, tilt, target.rough, target.ring_hz, target.breath)
    made = timbred(moved, rate_hz, timbre)
    made *= level / max(level_of(made), QUIETEST)
    return made, {"from_hz": middle_hz, "to_hz": voice.f0_hz, "formants": factor}


def _melody(pitch: Pitch, voice: Voice) -> FloatArray:
    """The same melody around the target's pitch, as wide as the target's is."""
    spread = max(pitch.spread, 0.3)
    width = float(np.clip(voice.liveliness / 50 * USUAL_SPREAD / spread, 0.4, 1.6)) ** 0.5  # half way there
    semitones = 12 * np.log2(pitch.f0_hz / pitch.median_hz)
    return voice.f0_hz * 2 ** (semitones * width / 12)
