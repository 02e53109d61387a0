"""espeak-ng in its own process: what it says, and that its failures stay its own."""

import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.avatars.conftest import SENTENCE
from worldstream.avatars.audio.espeak import Espeak, library_installed
from worldstream.avatars.audio.pitch import pitch_of
from worldstream.avatars.audio.voices import VARIANTS_HZ, voice_named
from worldstream.avatars.tts import Speech, SpeechError

MARK = voice_named("Mark")


def test_the_same_text_is_the_same_samples(espeak: Espeak, man: Speech) -> None:
    again = espeak.say(SENTENCE, MARK)
    assert np.array_equal(again.samples, man.samples)
    assert man.samples.dtype == np.float32
    assert 0.69 < float(np.abs(man.samples).max()) <= 0.7 + 1e-6


def test_it_sounds_like_speech(man: Speech) -> None:
    """Voiced for half to three quarters of the time, a melody, pauses, most power below 4 kHz."""
    pitch = pitch_of(man.samples, man.rate_hz)
    assert 0.45 < pitch.voiced.mean() < 0.85
    assert 0.5 < pitch.spread < 4
    power = np.square(np.abs(np.fft.rfft(man.samples)))
    assert power[: len(power) * 4000 * 2 // man.rate_hz].sum() > 0.9 * power.sum()
    loud = np.sqrt(np.square(man.samples[: len(man.samples) // 220 * 220].reshape(-1, 220)).mean(1))
    assert (loud < 0.05 * loud.max()).mean() > 0.05


def test_words_come_with_their_times(man: Speech) -> None:
    assert [word.text.strip(",.") for word in man.words] == SENTENCE.replace(",", "").replace(".", "").split()
    starts = [word.start_s for word in man.words]
    assert starts == sorted(starts)
    assert all(word.start_s < word.end_s for word in man.words)
    assert man.words[-1].end_s == pytest.approx(len(man.samples) / man.rate_hz)
    for word in man.words:
        part = man.samples[int(word.start_s * man.rate_hz) : int(word.end_s * man.rate_hz)]
        assert np.abs(part).max() > 0.05, word


def test_speed_and_pitch_are_heard(espeak: Espeak, man: Speech) -> None:
    fast = espeak.say(SENTENCE, MARK, speed=1.5)
    assert 0.55 < len(fast.samples) / len(man.samples) < 0.8
    high = espeak.say(SENTENCE, MARK, semitones=5.0)
    ratio = pitch_of(high.samples, high.rate_hz).median_hz / pitch_of(man.samples, man.rate_hz).median_hz
    assert 12 * np.log2(ratio) == pytest.approx(5.0, abs=1.0)
    higher = espeak.say(SENTENCE, MARK, semitones=12.0)  # beyond espeak-ng's own scale
    assert pitch_of(higher.samples, higher.rate_hz).median_hz == pytest.approx(2 * MARK.f0_hz, rel=0.06)


@pytest.mark.parametrize("language", ["de", "pt-BR", "zh", "no", "en-GB"])
def test_languages_by_code(espeak: Espeak, language: str) -> None:
    said = espeak.say("Hallo, eins zwei drei." if language != "zh" else "你好世界", MARK, language)
    assert len(said.samples) > 0.5 * said.rate_hz


def test_a_language_that_nobody_speaks_is_refused(espeak: Espeak) -> None:
    with pytest.raises(ValueError, match="do not speak 'fil'"):
        espeak.say("Kumusta", MARK, "fil")


def test_markup_and_odd_text_are_only_text(espeak: Espeak) -> None:
    for text in ("<speak><audio src='file:///etc/passwd'/>x</speak>", "a[[b]]c", "%s %n {0}", "🎉 party", "a" * 400):
        assert len(espeak.say(text, MARK).samples) > 0


def _broken(tmp_path: Path, program: str, limit_s: float = 20.0) -> Espeak:
    script = tmp_path / "worker.py"
    script.write_text(program)
    return Espeak(library=library_installed(), limit_s=limit_s, command=(sys.executable, "-I", "-S", str(script)))


def test_a_crash_is_one_text_that_failed(tmp_path: Path, espeak: Espeak) -> None:
    crashing = _broken(tmp_path, "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    with pytest.raises(SpeechError, match="crashed") as caught:
        crashing.say("Hello", MARK)
    assert caught.value.transient
    assert len(espeak.say("Hello", MARK).samples)  # nobody else is disturbed


def test_an_endless_worker_is_ended(tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(SpeechError, match=r"longer than 0\.3 s"):
        _broken(tmp_path, "while True: pass", 0.3).say("Hello", MARK)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("said", ["", "no JSON\n", '{"rate_hz": 22050, "words": []}\n', '{"error": "bad"}\n'])
def test_a_worker_that_says_nothing_usable(tmp_path: Path, said: str) -> None:
    with pytest.raises(SpeechError):
        _broken(tmp_path, f"import sys; sys.stdout.write({said!r})").say("Hello", MARK)


def test_the_library_is_never_loaded_here(man: Speech) -> None:
    """The GPL stays on the other side of the pipe."""
    assert man.engine == "espeak-ng"
    assert "espeakng_loader" not in sys.modules
    assert "libespeak" not in Path("/proc/self/maps").read_text()


def test_the_systems_program_speaks_too(tmp_path: Path) -> None:
    """The command line that espeak-ng documents, and its WAV of unknown length, by a stand-in."""
    program = tmp_path / "espeak-ng"
    program.write_text(
        f"#!{sys.executable}\n"
        "import sys, struct, math\n"
        "text = sys.stdin.read()\n"
        "assert sys.argv[1:3] == ['--stdin', '--stdout'] and '-v' in sys.argv, sys.argv\n"
        "pcm = b''.join(struct.pack('<h', int(9000 * math.sin(i / 9))) for i in range(2205 * len(text)))\n"
        "head = b'RIFF' + b'\\xff' * 4 + b'WAVEfmt ' + struct.pack('<IHHIIHH', 16, 1, 1, 22050, 44100, 2, 16)\n"
        "sys.stdout.buffer.write(head + b'data' + b'\\xff' * 4 + pcm)\n"
    )
    program.chmod(0o755)
    said = Espeak(program=str(program)).say("Hello", MARK)
    assert len(said.samples) == 2205 * 5
    assert said.words == ()


@pytest.mark.parametrize("variant", ["m3", "f3"])
def test_the_table_of_pitches_is_that_of_the_engine(espeak: Espeak, variant: str) -> None:
    for factor in (0.8, 1.25):
        voice = replace(MARK, variant=variant, f0_hz=VARIANTS_HZ[variant] * factor)
        said = espeak.say(SENTENCE, voice)
        assert pitch_of(said.samples, said.rate_hz).median_hz == pytest.approx(voice.f0_hz, rel=0.08)
