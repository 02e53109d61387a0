"""The sounds: how far apart the voices are, how much noise goes, how seamless the loops are, how fast it all is made.

    python benchmarks/sounds.py [--quick] [--json FILE]

Speed is CPU time of one thread. `--quick` takes a dozen voices and effects instead of all.
"""

from __future__ import annotations

import argparse
import sys
import time
from itertools import combinations
from pathlib import Path

import numpy as np

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.report import Figure, at_least, at_most, print_table, write
from worldstream.avatars.audio.denoise import denoised, isolated
from worldstream.avatars.audio.effect_words import EFFECTS, Asked
from worldstream.avatars.audio.effects import effect_of
from worldstream.avatars.audio.espeak import Espeak, installed_espeak
from worldstream.avatars.audio.loudness import levelled, loudness
from worldstream.avatars.audio.pitch import pitch_of
from worldstream.avatars.audio.spectral import FloatArray, envelopes, spectra
from worldstream.avatars.audio.synthesis import RATE_HZ
from worldstream.avatars.audio.voice_change import voice_changed
from worldstream.avatars.audio.voices import LIVE_PRESETS, PRESETS, voice_named

SENTENCE = "The quick brown fox jumps over the lazy dog, and the rain in Spain falls mainly on the plain."
SECONDS = 6.0


def snr_db(clean: FloatArray, heard: FloatArray) -> float:
    """Scale-invariant signal-to-noise ratio (Le Roux 2019)."""
    part = clean * (heard @ clean) / (clean @ clean)
    return float(10 * np.log10((part @ part) / ((heard - part) @ (heard - part))))


def voices(espeak: Espeak, quick: bool) -> list[Figure]:
    """Every voice says a sentence; of any two, what tells them apart: semitones, or dB between the mean spectra."""
    everyone = [*PRESETS.values(), *LIVE_PRESETS.values()][:: 7 if quick else 1]
    heard, began, said_s = [], time.process_time(), 0.0
    for voice in everyone:
        said = espeak.say(SENTENCE, voice)
        said_s += len(said.samples) / said.rate_hz
        magnitudes = np.abs(spectra(said.samples, 1024, 512))
        shape = 20 * np.log10(np.average(envelopes(magnitudes, said.rate_hz), 0, magnitudes.sum(1)) + 1e-6)
        heard.append((pitch_of(said.samples, said.rate_hz).median_hz, shape[9:230] - shape[9:230].mean()))
    spent = time.process_time() - began
    apart = [
        abs(12 * np.log2(max(a[0], 1) / max(b[0], 1))) / 0.5 + float(np.abs(a[1] - b[1]).mean())
        for a, b in combinations(heard, 2)
    ]
    return [
        at_least(f"nearest two of {len(everyone)} voices: half semitones plus dB", min(apart), "", 1.0),
        Figure("median of all pairs", float(np.median(apart)), ""),
        Figure("seconds of speech a CPU second, without espeak-ng's own", said_s / spent, "s"),
    ]


def noise(espeak: Espeak) -> list[Figure]:
    """Speech with pink noise against the speech alone, a woman and a man."""
    figures = []
    for level_db in (0.0, 5.0, 10.0, 20.0):
        gains: dict[str, list[float]] = {"noise removal": [], "isolation": []}
        for name in ("Maya", "Mark"):
            said = espeak.say(SENTENCE, voice_named(name))
            clean = said.samples.astype(np.float64)
            spectrum = np.fft.rfft(np.random.default_rng(1).standard_normal(len(clean)))
            pink = np.fft.irfft(spectrum / np.sqrt(np.maximum(np.arange(len(spectrum)), 1)), len(clean))
            noisy = clean + pink / pink.std() * clean.std() * 10 ** (-level_db / 20)
            for kind, change in (("noise removal", denoised), ("isolation", isolated)):
                gains[kind].append(snr_db(clean, change(noisy[None], said.rate_hz)[0]) - snr_db(clean, noisy))
        for kind, values in gains.items():
            figure = f"{kind}, pink noise {level_db:g} dB below the voice: gain"
            mean = float(np.mean(values))
            figures.append(at_least(figure, mean, "dB", 6.0) if level_db <= 5 else Figure(figure, mean, "dB"))
    return figures


def change(espeak: Espeak) -> list[Figure]:
    """Mark in other voices: how near the pitch comes to the one that is asked for."""
    said, errors, began = espeak.say(SENTENCE, voice_named("Mark")), [], time.process_time()
    targets = ("Maya", "Pip", "Ragnar", "Rachel")
    for name in targets:
        made, _ = voice_changed(said.samples, said.rate_hz, voice_named(name))
        errors.append(abs(12 * np.log2(pitch_of(made, said.rate_hz).median_hz / voice_named(name).f0_hz)))
    speed = len(targets) * len(said.samples) / said.rate_hz / (time.process_time() - began)
    return [
        at_most("voice change: largest error of the pitch", float(max(errors)), "semitones", 0.5),
        Figure("voice change: seconds of speech a CPU second", speed, "s"),
    ]


def effects(quick: bool) -> list[Figure]:
    """Loops of every effect: the step across the seam against the largest within 10 ms of it."""
    seams, levels, speeds = [], [], []
    for known in EFFECTS[:: 3 if quick else 1]:
        began = time.process_time()
        made = levelled(effect_of(Asked(known), round(SECONDS * RATE_HZ), 1, loop=True), RATE_HZ)
        speeds.append((SECONDS / (time.process_time() - began), known.name))
        steps = np.abs(np.diff(np.roll(made, 2400, 1), axis=1))
        near = np.delete(steps[:, 1920:2880], 2399 - 1920, 1).max()
        seams.append(float(steps[:, 2399].max() / max(float(near), 1e-3)))
        levels.append(loudness(made, RATE_HZ))
    slowest = min(speeds)
    return [
        at_most(f"loops of {len(seams)} effects: step across the seam, of the largest beside it", max(seams), "", 1.2),
        Figure("median loudness", float(np.median(levels)), "LUFS"),
        Figure("quietest, for its peaks", min(levels), "LUFS"),
        at_least(f"slowest effect ({slowest[1]}): seconds of sound a CPU second", slowest[0], "s", 1.0),
        Figure("median effect: seconds of sound a CPU second", float(np.median([speed for speed, _ in speeds])), "s"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a dozen voices and effects instead of all")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    arguments = parser.parse_args()
    espeak = installed_espeak()
    if espeak is None:
        parser.error("no voice is installed; pip install worldstream[speech]")
    figures = voices(espeak, arguments.quick) + noise(espeak) + change(espeak) + effects(arguments.quick)
    print_table(figures)
    if arguments.json:
        write(arguments.json, figures)


if __name__ == "__main__":
    main()
