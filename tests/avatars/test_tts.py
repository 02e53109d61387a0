"""What a voice is and what may be said."""

from collections.abc import Callable

import pytest

from worldstream.avatars.audio.speakers import speaker_of
from worldstream.avatars.audio.voices import voice_named
from worldstream.avatars.tts import MOST_CHARACTERS, NoSpeaker, SpeechError, checked


@pytest.mark.parametrize(
    ("text", "speed", "semitones", "said"),
    [
        ("", 1.0, 0.0, "nothing to say"),
        (" …!? \x00", 1.0, 0.0, "nothing to say"),
        ("a" * (MOST_CHARACTERS + 1), 1.0, 0.0, f"{MOST_CHARACTERS + 1} characters"),
        ("hi", 0.1, 0.0, "speed 0.1"),
        ("hi", float("nan"), 0.0, "speed nan"),
        ("hi", 1.0, 30.0, "30.0 semitones"),
    ],
)
def test_what_cannot_be_said_is_refused_with_its_value(text: str, speed: float, semitones: float, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        checked(text, speed, semitones)


def test_text_is_stripped_of_what_is_not_printable() -> None:
    assert checked("  one\x00two\nthree \x1b[0m", 1.0, 0.0) == "one two\nthree  [0m"


def test_descriptions_say_who_speaks() -> None:
    assert voice_named("Serene").description == "a woman's voice, deep, unhurried, American English"
    assert "gravelly" in voice_named("Monster").description
    assert voice_named("Brodie").description.endswith("Scottish English")


def test_without_an_engine_the_refusal_names_the_remedies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worldstream.avatars.audio.espeak.find_spec", lambda name: None)
    monkeypatch.setattr("worldstream.avatars.audio.espeak.shutil.which", lambda name: None)
    with pytest.raises(NoSpeaker, match=r"pip install worldstream\[speech\].*WORLDSTREAM_SPEECH_URL"):
        speaker_of(lambda name: "")


def test_settings_choose_the_engine() -> None:
    assert speaker_of(lambda name: "").name == "espeak-ng"
    chosen = speaker_of(_settings(speech_url="http://localhost:1/v1", speech_model="kokoro"))
    assert chosen.name == "kokoro at localhost"
    with pytest.raises(SpeechError, match="ftp://x"):
        speaker_of(_settings(speech_url="ftp://x"))


def _settings(**said: str) -> Callable[[str], str]:
    return lambda name: said.get(name, "")
