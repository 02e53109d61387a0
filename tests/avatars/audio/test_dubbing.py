"""Dubbing by a service, against a local one."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.avatars.fake_service import FakeService
from worldstream.avatars.audio.dubbing import HURRIED, LANGUAGES, DubbingService, Line, dubbing_of, spoken
from worldstream.avatars.audio.espeak import Espeak
from worldstream.avatars.audio.voices import voice_named
from worldstream.avatars.tts import SpeechError


def test_transcription_and_translation(service: FakeService, tmp_path: Path) -> None:
    recording = tmp_path / "said.wav"
    recording.write_bytes(b"RIFF")
    settings = {"dubbing_url": service.url, "dubbing_key": "k", "dubbing_translator": "m"}
    dubbing = dubbing_of(lambda name: settings.get(name, ""))
    assert dubbing is not None
    lines = dubbing.lines(recording)
    assert lines == (Line(0.5, 1.5, "good morning"), Line(2.0, 3.0, "how are you"))
    assert dubbing.translated([line.text for line in lines], "de") == ["GOOD MORNING", "HOW ARE YOU"]
    (first, key, body), (second, _, chat) = service.asked
    assert (first, key, second) == ("/v1/audio/transcriptions", "Bearer k", "/v1/chat/completions")
    assert b'name="response_format"' in body
    assert b"RIFF" in body
    assert json.loads(chat)["model"] == "m"
    assert "German" in json.loads(chat)["messages"][0]["content"]


def test_many_lines_are_asked_in_parts(service: FakeService) -> None:
    texts = [f"line {index}" for index in range(95)]
    assert DubbingService(service.url).translated(texts, "fr") == [text.upper() for text in texts]
    assert len(service.asked) == 3


@pytest.mark.parametrize("answer", [["one"], {"a": 1}, [1, 2], "words"])
def test_a_translation_that_is_none(service: FakeService, answer: object) -> None:
    service.translation = answer
    with pytest.raises(SpeechError, match="translat"):
        DubbingService(service.url).translated(["a", "b"], "de")


def test_a_recording_without_speech(service: FakeService, tmp_path: Path) -> None:
    service.segments = [(1.0, 0.5, "backwards"), (2.0, 3.0, "  ")]
    (tmp_path / "x.wav").write_bytes(b"")
    with pytest.raises(SpeechError, match="nothing that is said"):
        DubbingService(service.url).lines(tmp_path / "x.wav")


def test_lines_are_spoken_at_their_times(espeak: Espeak) -> None:
    lines = [Line(0.5, 1.2, "Guten Tag"), Line(3.0, 3.4, "Das ist ein ziemlich langer Satz für so wenig Zeit")]
    shares: list[float] = []
    made, notes = spoken(lines, 4.0, 24_000, espeak, voice_named("Mark"), "de", shares.append)
    assert made.shape == (96_000,)
    assert not made[:11_900].any()
    assert np.abs(made[12_000:20_000]).max() > 0.1
    assert not made[60_000:71_900].any()
    assert np.abs(made[74_000:]).max() > 0.1
    assert shares == [0.5, 1.0]
    assert "line 2 is cut" in notes[0]
    assert 1 < HURRIED <= 2


def test_languages_are_those_of_the_api() -> None:
    assert " ".join(LANGUAGES) == (
        "en hi pt zh es fr de ja ar ru ko id it nl tr pl sv fil ms ro uk el cs da fi bg hr sk ta"
    )
    assert dubbing_of(lambda name: "") is None
    with pytest.raises(SpeechError, match="file:///x"):
        dubbing_of(lambda name: "file:///x")
