"""Speaking by a service, against a local one."""

import json

import numpy as np
import pytest

from tests.avatars.fake_service import FakeService
from worldstream.avatars.audio.pitch import pitch_of
from worldstream.avatars.audio.speech_service import SpeechService, service_of
from worldstream.avatars.audio.voices import voice_named
from worldstream.avatars.tts import SpeechError

MAYA = voice_named("Maya")


def test_the_service_is_asked_as_its_reference_says(service: FakeService) -> None:
    settings = {"speech_url": service.url, "speech_key": "secret", "speech_voices": "Maya=nova, *=alloy"}
    speaker = service_of(lambda name: settings.get(name, ""))
    assert speaker is not None
    assert "secret" not in repr(speaker)
    said = speaker.say("Hello there", MAYA, speed=1.25)
    speaker.say("Hello there", voice_named("Mark"))
    (path, authorization, body), (_, _, other) = service.asked
    assert (path, authorization) == ("/v1/audio/speech", "Bearer secret")
    assert json.loads(body) == {
        "model": "tts-1", "input": "Hello there", "voice": "nova", "response_format": "wav", "speed": 1.25
    }  # fmt: skip
    assert json.loads(other)["voice"] == "alloy"
    assert said.rate_hz == 24_000
    assert len(said.samples) == 19_200
    assert said.samples.dtype == np.float32
    assert said.engine == "tts-1 at 127.0.0.1"


def test_pitch_is_moved_here_and_the_language_noted(service: FakeService) -> None:
    said = SpeechService(service.url).say("Hello", MAYA, "de", semitones=4.0)
    assert pitch_of(said.samples, said.rate_hz).median_hz == pytest.approx(220 * 2 ** (4 / 12), rel=0.02)
    assert "de was not passed on" in said.notes[0]
    assert json.loads(service.asked[0][2])["voice"] == "Maya"


@pytest.mark.parametrize(("status", "transient"), [(401, False), (404, False), (429, True), (503, True)])
def test_refusals_are_told_in_one_line(service: FakeService, status: int, transient: bool) -> None:
    service.failing = status
    with pytest.raises(SpeechError, match=f"answered {status}") as caught:
        SpeechService(service.url).say("Hello", MAYA)
    assert caught.value.transient is transient
    assert "\n" not in str(caught.value)


def test_what_is_no_wav_and_nobody_there(service: FakeService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "speech", lambda body: b"<html>")
    with pytest.raises(SpeechError, match="no WAV"):
        SpeechService(service.url).say("Hello", MAYA)
    with pytest.raises(SpeechError, match="cannot be reached") as caught:
        SpeechService("http://127.0.0.1:9", limit_s=2.0).say("Hello", MAYA)
    assert caught.value.transient


def test_settings_that_cannot_be_read() -> None:
    assert service_of(lambda name: "") is None
    settings = {"speech_url": "http://localhost", "speech_voices": "Maya"}
    with pytest.raises(SpeechError, match="WORLDSTREAM_SPEECH_VOICES"):
        service_of(lambda name: settings.get(name, ""))
