"""Text to speech: what a voice is, what speaking gives back, and which engine speaks here.

Engines are interchangeable behind `Speaker`: espeak-ng in a process of its own by default, an OpenAI-compatible speech
service where one is configured. Neither knows how samples are stored or sent.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .audio.timbre import Timbre

MOST_CHARACTERS = 10_000  # of one text
MOST_SPEECH_S = 1200.0
SPEEDS = (0.5, 2.0)
SEMITONES = (-24.0, 24.0)


class SpeechError(Exception):
    """A text that could not be said; one line for whoever asked. `transient`: the same again may work."""

    def __init__(self, message: str, transient: bool = False) -> None:
        super().__init__(message)
        self.transient = transient


class NoSpeaker(SpeechError):
    """No engine on this machine; the text names what would change that."""


@dataclass(frozen=True, slots=True)
class Voice:
    """Somebody who speaks. `variant` and `accent` are espeak-ng's; other engines go by the name."""

    name: str
    kind: str  # woman, man, child or other
    accent: str = "en-us"  # of English; other languages have their own
    variant: str = "m3"
    f0_hz: float = 110.0  # median fundamental frequency; 40..500
    liveliness: int = 50  # how far the melody goes, 0..100
    speed: float = 1.0
    timbre: Timbre = field(default_factory=Timbre)
    tilt_db: float | None = None  # measured spectral tilt per octave that speech is brought to; None leaves it

    @property
    def throat(self) -> float:
        """Formants relative to a grown man's: about 1.17 for women, 1.35 for children."""
        return {"woman": 1.17, "child": 1.35}.get(self.kind, 1.0) * self.timbre.formants

    @property
    def description(self) -> str:
        """In words, e.g. `a woman's voice, high, British English`."""
        whose = {"woman": "a woman's voice", "man": "a man's voice", "child": "a child's voice"}
        middle = {"woman": 200.0, "child": 280.0}.get(self.kind, 110.0)
        height = "high" if self.f0_hz > middle * 1.08 else "deep" if self.f0_hz < middle * 0.92 else "of middle height"
        pace = ["unhurried"] if self.speed < 0.95 else ["quick"] if self.speed > 1.05 else []
        rough = ["gravelly"] if self.timbre.rough else ["breathy"] if self.timbre.breath else []
        spoken = _ACCENTS.get(self.accent, self.accent)
        return ", ".join([whose.get(self.kind, "a voice like no person's"), height, *rough, *pace, spoken])


_ACCENTS = {
    "en-us": "American English", "en-us-nyc": "New York English", "en": "British English",
    "en-gb-x-rp": "British English of the stage", "en-gb-scotland": "Scottish English",
    "en-gb-x-gbclan": "Lancashire English", "en-gb-x-gbcwmd": "West Midlands English", "en-029": "Caribbean English",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Word:
    """When a word of the text is said."""

    text: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Speech:
    """What was said."""

    samples: NDArray[np.float32]  # [n], full scale 1
    rate_hz: int
    words: tuple[Word, ...] = ()  # empty where the engine tells none
    notes: tuple[str, ...] = ()  # what was not done as asked
    engine: str = ""


class Speaker(Protocol):
    """An engine. Thread-safe; a call takes as long as the speech takes to make."""

    @property
    def name(self) -> str: ...

    def say(self, text: str, voice: Voice, language: str = "", speed: float = 1.0, semitones: float = 0.0) -> Speech:
        """`language` is a code such as `de` or `pt-BR`; empty leaves it to the text. `speed` 1 is the voice's own.

        Raises ValueError on what is out of range, SpeechError where it cannot be said.
        """
        ...


def checked(text: str, speed: float, semitones: float) -> str:
    """The text, stripped. Raises ValueError with the value and the remedy."""
    text = "".join(c if c.isprintable() or c.isspace() else " " for c in text).strip()
    if not any(c.isalnum() for c in text):
        raise ValueError("the text has nothing to say in it; give it at least one word")
    if len(text) > MOST_CHARACTERS:
        raise ValueError(f"the text has {len(text)} characters; at most {MOST_CHARACTERS} are said at once")
    if not SPEEDS[0] <= speed <= SPEEDS[1]:
        raise ValueError(f"speed {speed} is outside {SPEEDS[0]}..{SPEEDS[1]} (1 is the voice's own)")
    if not SEMITONES[0] <= semitones <= SEMITONES[1]:
        raise ValueError(f"a pitch of {semitones} semitones is outside {SEMITONES[0]:g}..{SEMITONES[1]:g}")
    return text
