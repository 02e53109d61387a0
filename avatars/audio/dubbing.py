"""Dubbing: what is said in a recording, in another language, at the same times.

No model here transcribes or translates. A service does both, as the OpenAI-compatible interfaces describe it: `POST
<url>/audio/transcriptions` (verbose JSON) and `POST <url>/chat/completions`. Settings: WORLDSTREAM_DUBBING_URL,
WORLDSTREAM_DUBBING_KEY, WORLDSTREAM_DUBBING_TRANSCRIBER (whisper-1), WORLDSTREAM_DUBBING_TRANSLATOR (gpt-4o-mini). The
voice is this machine's own speaker's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from ..tts import SPEEDS, Speaker, SpeechError, Voice
from .spectral import FloatArray, resampled

LANGUAGES = {
    "en": "English", "hi": "Hindi", "pt": "Portuguese", "zh": "Chinese", "es": "Spanish", "fr": "French",
    "de": "German", "ja": "Japanese", "ar": "Arabic", "ru": "Russian", "ko": "Korean", "id": "Indonesian",
    "it": "Italian", "nl": "Dutch", "tr": "Turkish", "pl": "Polish", "sv": "Swedish", "fil": "Filipino",
    "ms": "Malay", "ro": "Romanian", "uk": "Ukrainian", "el": "Greek", "cs": "Czech", "da": "Danish",
    "fi": "Finnish", "bg": "Bulgarian", "hr": "Croatian", "sk": "Slovak", "ta": "Tamil",
}  # fmt: skip
HURRIED = 1.6  # no line is spoken faster than this, even where it then runs into the next pause
MOST_LINES = 2000
LINES_AT_ONCE = 40


@dataclass(frozen=True, slots=True)
class Line:
    """What somebody says, and when."""

    start_s: float
    end_s: float
    text: str


@dataclass(frozen=True, slots=True)
class DubbingService:
    """Transcription and translation. Methods raise SpeechError in one line."""

    url: str
    key: str = field(default="", repr=False)
    transcriber: str = "whisper-1"
    translator: str = "gpt-4o-mini"
    limit_s: float = 600.0

    def lines(self, recording: Path) -> tuple[Line, ...]:
        """What is said in a sound file."""
        with recording.open("rb") as file:
            said = self._asked(
                "/audio/transcriptions",
                data={"model": self.transcriber, "response_format": "verbose_json"},
                files={"file": (recording.name, file, "audio/wav")},
            )
        try:
            found = [Line(float(s["start"]), float(s["end"]), str(s["text"]).strip()) for s in said["segments"]]
        except (KeyError, TypeError, ValueError) as error:
            raise SpeechError("the dubbing service's transcription has no segments with times") from error
        lines = [line for line in found if line.text and 0 <= line.start_s < line.end_s]
        if not lines:
            raise SpeechError("the dubbing service found nothing that is said in the recording")
        if len(lines) > MOST_LINES:
            raise SpeechError(f"the recording has {len(lines)} lines; at most {MOST_LINES} are dubbed at once")
        return tuple(sorted(lines, key=lambda line: line.start_s))

    def translated(self, texts: Sequence[str], language: str) -> list[str]:
        """The texts in another language, as many as there were."""
        done: list[str] = []
        for start in range(0, len(texts), LINES_AT_ONCE):
            done += self._translated(list(texts[start : start + LINES_AT_ONCE]), language)
        return done

    def _translated(self, texts: list[str], language: str) -> list[str]:
        told = (
            f"Translate each string of the JSON array into {LANGUAGES[language]} for dubbing: natural speech of about "
            "the same length. Answer with a JSON array of as many strings, in the same order, and nothing else."
        )
        messages = [
            {"role": "system", "content": told},
            {"role": "user", "content": json.dumps(texts, ensure_ascii=False)},
        ]
        reply = self._asked(
            "/chat/completions", json={"model": self.translator, "messages": messages, "temperature": 0}
        )
        try:
            said = str(reply["choices"][0]["message"]["content"])
            found = json.loads(said[said.index("[") : said.rindex("]") + 1])
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise SpeechError("the dubbing service's translation is not a JSON array", transient=True) from error
        if not isinstance(found, list) or len(found) != len(texts) or not all(isinstance(text, str) for text in found):
            raise SpeechError(f"the dubbing service translated {len(texts)} lines into something else", transient=True)
        return found

    def _asked(self, path: str, **body: Any) -> Any:
        headers = {"authorization": f"Bearer {self.key}"} if self.key else {}
        try:
            reply = httpx.post(f"{self.url.rstrip('/')}{path}", headers=headers, timeout=self.limit_s, **body)
        except httpx.HTTPError as error:
            raise SpeechError(
                f"the dubbing service cannot be reached ({type(error).__name__})", transient=True
            ) from error
        if reply.status_code != 200:
            said = reply.text[:200].replace("\n", " ")
            again = reply.status_code in (408, 409, 429) or reply.status_code >= 500
            raise SpeechError(f"the dubbing service answered {reply.status_code}: {said}", transient=again)
        try:
            return reply.json()
        except ValueError as error:
            raise SpeechError("the dubbing service sent no JSON", transient=True) from error


def dubbing_of(setting: Callable[[str], str]) -> DubbingService | None:
    """The service that this machine is set to. Raises SpeechError on a URL that is none."""
    url = setting("dubbing_url").strip()
    if not url:
        return None
    if not url.startswith(("http://", "https://")):
        raise SpeechError(f"WORLDSTREAM_DUBBING_URL is {url!r}; it begins with http:// or https://")
    return DubbingService(
        url, setting("dubbing_key"), setting("dubbing_transcriber") or "whisper-1",
        setting("dubbing_translator") or "gpt-4o-mini",
    )  # fmt: skip


def spoken(
    lines: Sequence[Line], seconds: float, rate_hz: int, speaker: Speaker, voice: Voice, language: str,
    told: Callable[[float], None],
) -> tuple[FloatArray, tuple[str, ...]]:  # fmt: skip
    """(the lines said at their times, mono `[n]`; notes). A line that is too long for its time is said faster, up to
    HURRIED; where that is not enough it runs on, and a note says so."""
    out = np.zeros(round(seconds * rate_hz))
    notes: list[str] = []
    free_s = 0.0  # until here somebody is still speaking
    for index, line in enumerate(lines):
        until = lines[index + 1].start_s if index + 1 < len(lines) else seconds
        speech = speaker.say(line.text, voice, language)
        room_s, needs_s = max(until - max(line.start_s, free_s), 0.3), len(speech.samples) / speech.rate_hz
        if needs_s > room_s:
            speech = speaker.say(line.text, voice, language, speed=min(needs_s / room_s, HURRIED, SPEEDS[1]))
            needs_s = len(speech.samples) / speech.rate_hz
        samples = resampled(speech.samples, speech.rate_hz, rate_hz)
        start = round(max(line.start_s, free_s) * rate_hz)
        part = samples[: max(len(out) - start, 0)]
        out[start : start + len(part)] += part
        if len(part) < len(samples) * 0.98:
            notes.append(f"line {index + 1} is cut: its translation is longer than what is left of the recording")
        free_s = start / rate_hz + needs_s
        told((index + 1) / len(lines))
    return out, tuple(notes[:20])
