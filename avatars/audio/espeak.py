"""The offline voices: espeak-ng in a process of its own for every text, its sound then shaped into the voice.

espeak-ng is GPL-3. It is never loaded here: `espeak_worker.py` loads the library, or the system's own program runs. A
crash, an endless loop or a memory fault of it is one text that could not be said.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import wave
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from math import log2
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..tts import MOST_SPEECH_S, Speech, SpeechError, Voice, Word, checked
from .languages import espeak_language, language_of
from .matching import tilt_of
from .pitch import pitch_of, repitched
from .timbre import timbred
from .voices import VARIANTS_HZ

WORKER = Path(__file__).with_name("espeak_worker.py")
MIDDLE_PITCH, PITCH_PER_OCTAVE = 50, 70  # of espeak-ng's scale 0..99, measured over its range
WORDS_PER_MINUTE = 165
PEAK = 0.7  # of full scale: room for what comes after
MOST_TILT_DB = 6.0  # per octave that a reference may ask for
# Nothing of ours reaches the worker, keys least of all; Windows starts no process without this one.
_ENVIRONMENT = {name: os.environ[name] for name in ("SYSTEMROOT",) if name in os.environ}


@dataclass(frozen=True, slots=True)
class Library:
    """Where the `espeakng-loader` wheel lies; it is not imported, since that would set it up for this process."""

    library: Path
    data: Path


def library_installed() -> Library | None:
    spec = find_spec("espeakng_loader")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent
    names = ("libespeak-ng.so", "libespeak-ng.dylib", "espeak-ng.dll")
    library = next((folder / name for name in names if (folder / name).is_file()), None)
    data = folder / "espeak-ng-data"
    return Library(library, data) if library is not None and data.is_dir() else None


def installed_espeak() -> Espeak | None:
    """The library of the wheel, else the system's program, else None."""
    library = library_installed()
    if library is not None:
        return Espeak(library=library)
    program = shutil.which("espeak-ng")
    return Espeak(program=program) if program else None


class Espeak:
    """`Speaker` by espeak-ng. `command` replaces the worker's, for tests of its failures."""

    name = "espeak-ng"

    def __init__(
        self,
        library: Library | None = None,
        program: str | None = None,
        limit_s: float = 60.0,
        command: Sequence[str] = (sys.executable, "-I", "-S", str(WORKER)),
    ) -> None:
        if library is None and program is None:
            raise ValueError("espeak-ng is either a library or a program; give one of them")
        self._library, self._program, self._limit_s, self._command = library, program, limit_s, tuple(command)

    def say(self, text: str, voice: Voice, language: str = "", speed: float = 1.0, semitones: float = 0.0) -> Speech:
        """See `Speaker`."""
        text = checked(text, speed, semitones)
        spoken = espeak_language(language) if language else language_of(text)
        accent = voice.accent if spoken == "en" and language.lower() not in ("en-gb", "en_gb") else spoken
        wanted_hz = voice.f0_hz * 2 ** (semitones / 12)
        scale = MIDDLE_PITCH + PITCH_PER_OCTAVE * log2(wanted_hz / VARIANTS_HZ[voice.variant])
        order = {
            "text": text, "voice": f"{accent}+{voice.variant}", "volume": 100,
            "pitch": round(min(max(scale, 0), 99)), "range": voice.liveliness,
            "words_per_minute": round(min(max(WORDS_PER_MINUTE * voice.speed * speed, 80), 450)),
        }  # fmt: skip
        samples, rate_hz, words = self._by_library(order) if self._library else self._by_program(order)
        if not len(samples) or float(np.abs(samples).max()) < 1e-4:
            raise SpeechError(f"espeak-ng makes no sound of this text in {accent!r}; give `language` or other words")
        beyond = scale - min(max(scale, 0), 99)
        exactly = abs(beyond) > 1 or voice.tilt_db is not None
        shaped, notes = _shaped(samples, rate_hz, voice, wanted_hz if exactly else 0.0)
        return Speech(shaped, rate_hz, _words(text, words, len(samples), rate_hz), notes, self.name)

    def _by_library(self, order: dict[str, Any]) -> tuple[NDArray[np.float64], int, list[list[int]]]:
        assert self._library is not None
        limits = {"cpu_s": int(self._limit_s) + 1, "most_s": MOST_SPEECH_S}
        where = {"library": str(self._library.library), "data": str(self._library.data)}
        out = self._ran(self._command, json.dumps({**order, **limits, **where}).encode())
        head, _, pcm = out.partition(b"\n")
        try:
            header = json.loads(head)
        except ValueError as error:
            raise SpeechError("espeak-ng ended without a word", transient=True) from error
        if "error" in header:
            raise SpeechError(str(header["error"]))
        samples = np.frombuffer(pcm[: len(pcm) // 2 * 2], "<i2").astype(np.float64) / 32768
        if len(samples) >= MOST_SPEECH_S * header["rate_hz"]:
            raise SpeechError(f"the speech is longer than {MOST_SPEECH_S:g} s; send the text in parts")
        return samples, int(header["rate_hz"]), header["words"]

    def _by_program(self, order: dict[str, Any]) -> tuple[NDArray[np.float64], int, list[list[int]]]:
        """The system's program tells no times of words and does not take the melody's range."""
        flags = {"-v": "voice", "-p": "pitch", "-s": "words_per_minute", "-a": "volume"}
        asked = [part for flag, key in flags.items() for part in (flag, str(order[key]))]
        out = self._ran([str(self._program), "--stdin", "--stdout", *asked], order["text"].encode())
        try:
            with wave.open(io.BytesIO(out)) as file:
                rate_hz = file.getframerate()
        except (wave.Error, EOFError) as error:
            raise SpeechError("espeak-ng ended without a word", transient=True) from error
        start = out.index(b"data") + 8  # its header tells no true length on a pipe
        pcm = out[start : start + (len(out) - start) // 2 * 2]
        return np.frombuffer(pcm, "<i2").astype(np.float64) / 32768, rate_hz, []

    def _ran(self, command: Sequence[str], given: bytes) -> bytes:
        try:
            done = subprocess.run(
                command, input=given, capture_output=True, timeout=self._limit_s, check=False, env=_ENVIRONMENT
            )
        except subprocess.TimeoutExpired as error:
            raise SpeechError(f"espeak-ng took longer than {self._limit_s:g} s and was ended") from error
        except OSError as error:
            raise SpeechError(f"espeak-ng cannot be started: {error.strerror}") from error
        if done.returncode:
            raise SpeechError(f"espeak-ng crashed (status {done.returncode})", transient=True)
        return done.stdout


def _shaped(
    samples: NDArray[np.float64], rate_hz: int, voice: Voice, repitch_hz: float
) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """What espeak-ng said, as the voice sounds; `repitch_hz` where its own scale does not reach that far, or
    where a measured pitch is to be met."""
    notes = []
    if repitch_hz:
        pitch = pitch_of(samples, rate_hz)
        if pitch.median_hz and abs(pitch.median_hz / repitch_hz - 1) > 0.02:
            samples = repitched(samples, rate_hz, pitch, pitch.f0_hz * (repitch_hz / pitch.median_hz))
    timbre = voice.timbre
    if voice.tilt_db is not None:
        missing = voice.tilt_db - tilt_of(samples, rate_hz)
        given = min(max(missing, -MOST_TILT_DB), MOST_TILT_DB)
        if given != missing:
            notes.append(f"the reference's tilt is {missing:.1f} dB per octave away; {given:.1f} were given")
        timbre = replace(timbre, tilt_db=timbre.tilt_db + given)
    made = timbred(samples, rate_hz, timbre)
    peak = float(np.abs(made).max())
    return (made * (PEAK / peak)).astype(np.float32), tuple(notes)


def _words(text: str, events: list[list[int]], count: int, rate_hz: int) -> tuple[Word, ...]:
    """Words with times from the library's events `[first sample, character, characters]`."""
    starts = [min(sample, count) / rate_hz for sample, _, _ in events] + [count / rate_hz]
    said = [text[at : at + length] for _, at, length in events]
    return tuple(Word(w, starts[i], max(starts[i + 1], starts[i])) for i, w in enumerate(said) if w.strip())
