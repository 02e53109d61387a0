"""Speaking by an OpenAI-compatible service: `POST <url>/audio/speech`, as its reference describes it.

Settings: WORLDSTREAM_SPEECH_URL (e.g. http://localhost:8880/v1), WORLDSTREAM_SPEECH_KEY where it wants one,
WORLDSTREAM_SPEECH_MODEL (tts-1), WORLDSTREAM_SPEECH_VOICES (`Maya=nova, Mark=onyx, *=alloy`: our names and the
service's; a name that is not listed goes as it is).
"""

from __future__ import annotations

import io
import wave
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import httpx
import numpy as np

from ..tts import Speech, SpeechError, Voice, checked
from .pitch import pitch_of, repitched

MOST_BYTES = 256 * 2**20


@dataclass(frozen=True, slots=True)
class SpeechService:
    """`Speaker` by a service. `transport` replaces the network in tests."""

    url: str
    key: str = field(default="", repr=False)
    model: str = "tts-1"
    voices: Mapping[str, str] = field(default_factory=dict)
    limit_s: float = 120.0

    @property
    def name(self) -> str:
        return f"{self.model} at {httpx.URL(self.url).host}"

    def say(self, text: str, voice: Voice, language: str = "", speed: float = 1.0, semitones: float = 0.0) -> Speech:
        """See `Speaker`. The service decides the language; what it cannot do stands in the notes."""
        text = checked(text, speed, semitones)
        body = {
            "model": self.model, "input": text, "voice": self.voices.get(voice.name, self.voices.get("*", voice.name)),
            "response_format": "wav", "speed": speed,
        }  # fmt: skip
        samples, rate_hz = _read_wave(self._asked(body))
        if semitones:
            pitch = pitch_of(samples, rate_hz)
            samples = repitched(samples, rate_hz, pitch, pitch.f0_hz * 2 ** (semitones / 12))
        notes = (f"the speech service chooses the language itself; {language} was not passed on",) if language else ()
        return Speech(samples.astype(np.float32), rate_hz, (), notes, self.name)

    def _asked(self, body: Mapping[str, object]) -> bytes:
        headers = {"authorization": f"Bearer {self.key}"} if self.key else {}
        where = f"{self.url.rstrip('/')}/audio/speech"
        try:
            with httpx.stream("POST", where, json=body, headers=headers, timeout=self.limit_s) as reply:
                if reply.status_code != 200:
                    said = reply.read()[:200].decode(errors="replace").replace("\n", " ")
                    again = reply.status_code in (408, 409, 429) or reply.status_code >= 500
                    raise SpeechError(f"the speech service answered {reply.status_code}: {said}", transient=again)
                got = bytearray()
                for piece in reply.iter_bytes():
                    got += piece
                    if len(got) > MOST_BYTES:
                        raise SpeechError(f"the speech service sent more than {MOST_BYTES >> 20} MiB")
                return bytes(got)
        except httpx.HTTPError as error:
            raise SpeechError(
                f"the speech service cannot be reached ({type(error).__name__})", transient=True
            ) from error


def _read_wave(data: bytes) -> tuple[np.ndarray[tuple[int, ...], np.dtype[np.float64]], int]:
    """Mono samples and rate of a 16-bit WAV; a length of -1 in a streamed header means all that follows."""
    try:
        with wave.open(io.BytesIO(data)) as file:
            rate_hz, channels, width = file.getframerate(), file.getnchannels(), file.getsampwidth()
    except (wave.Error, EOFError) as error:
        raise SpeechError("the speech service sent no WAV, which was asked for") from error
    if width != 2:
        raise SpeechError(f"the speech service sent {8 * width}-bit samples; 16-bit ones are read")
    start = data.index(b"data") + 8
    size = 2 * channels
    pcm = np.frombuffer(data[start : start + (len(data) - start) // size * size], "<i2").reshape(-1, channels)
    if not len(pcm):
        raise SpeechError("the speech service sent an empty sound", transient=True)
    return pcm.mean(1) / 32768, rate_hz


def service_of(setting: Callable[[str], str]) -> SpeechService | None:
    """The service that this machine is set to. Raises SpeechError on settings that cannot be read."""
    url = setting("speech_url").strip()
    if not url:
        return None
    if not url.startswith(("http://", "https://")):
        raise SpeechError(f"WORLDSTREAM_SPEECH_URL is {url!r}; it begins with http:// or https://")
    pairs = [pair.partition("=") for pair in setting("speech_voices").split(",") if pair.strip()]
    for ours, equals, theirs in pairs:
        if not (ours.strip() and equals and theirs.strip()):
            raise SpeechError("WORLDSTREAM_SPEECH_VOICES is a list such as Maya=nova,*=alloy")
    voices = {ours.strip(): theirs.strip() for ours, _, theirs in pairs}
    return SpeechService(url, setting("speech_key"), setting("speech_model") or "tts-1", voices)
