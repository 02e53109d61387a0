"""The sound jobs, through their contract: an order goes in, files that decode come out, refusals are one line."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests.avatars.fake_service import FakeService, serving
from worldstream.avatars.audio.espeak import installed_espeak
from worldstream.avatars.audio.pitch import pitch_of
from worldstream.avatars.audio.voices import voice_named
from worldstream.realtime.jobs.contract import Cancelled, JobError, JobOrder, JobResult, Refused
from worldstream.realtime.jobs.kinds import job_of
from worldstream.realtime.jobs.workshop import OneWorkshop
from worldstream.worlds.media.sound import Sound, read_sound, write_sound
from worldstream.worlds.media.video_out import write_video


class Told:
    """What a job reported; raises Cancelled from `end` on."""

    def __init__(self, end: float = 2.0) -> None:
        self.shares: list[float] = []
        self._end = end

    def __call__(self, fraction: float, preview: Any = None) -> None:
        self.shares.append(fraction)
        if fraction >= self._end:
            raise Cancelled


def done(
    kind: str, folder: Path, params: dict[str, Any], inputs: dict[str, Path] | None = None, told: Told | None = None,
    **settings: str,
) -> JobResult:  # fmt: skip
    """One job, with what holds for every one of them checked."""
    told = told or Told()
    out = folder / "out"
    out.mkdir()
    workshop = OneWorkshop(folder, "eager", {f"WORLDSTREAM_{name.upper()}": said for name, said in settings.items()})
    result = job_of(kind)(JobOrder("task-1", kind, params, inputs or {}, out), workshop, told)
    assert told.shares[0] == 0.0
    assert told.shares[-1] == 1.0
    assert told.shares == sorted(told.shares)
    assert sorted(out.iterdir()) == sorted(output.path for output in result.outputs)
    assert result.facts["seconds"] > 0
    return result


def heard(result: JobResult, index: int = 0) -> Sound:
    sound = read_sound(result.outputs[index].path)
    assert sound is not None
    return sound


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of Mark."""
    espeak = installed_espeak()
    assert espeak is not None
    said = espeak.say("We were away all day, and nobody was at home.", voice_named("Mark"))
    return write_sound(tmp_path_factory.mktemp("said") / "mark", Sound(said.samples[None], said.rate_hz), "wav")[0]


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory, recording: Path) -> Path:
    """A second and a half of grey, in which Mark speaks."""
    frames = (np.full((160, 256, 3), 90, np.uint8) for _ in range(36))
    return write_video(tmp_path_factory.mktemp("film") / "film", frames, Fraction(24), sound=read_sound(recording))[0]


@pytest.fixture
def service() -> Iterator[FakeService]:
    with serving(FakeService()) as running:
        yield running


@pytest.mark.parametrize(
    ("format", "rate", "media_type"),
    [("mp3", None, "audio/mpeg"), ("wav", 16_000, "audio/wav"), ("ogg_opus", None, "audio/ogg")],
)
def test_speech(tmp_path: Path, format: str, rate: int | None, media_type: str) -> None:
    params = {"text": "Good evening to you all.", "voice": "Maya", "format": format, "rate_hz": rate}
    result = done("speech", tmp_path, params)
    assert result.model == "espeak-ng"
    assert result.outputs[0].media_type == media_type
    sound = heard(result)
    assert sound.rate_hz == (rate or {"mp3": 22_050, "ogg_opus": 48_000}[format])
    assert sound.seconds == pytest.approx(result.facts["seconds"], abs=0.15)
    assert pitch_of(sound.samples[0], sound.rate_hz).median_hz == pytest.approx(205, rel=0.1)
    assert [word for word, _, _ in result.facts["words"]] == ["Good", "evening", "to", "you", "all"]


def test_speech_with_manner(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    params = {"text": "Good evening to you all.", "voice": "Mark", "format": "wav"}
    plain = done("speech", tmp_path / "plain", params)
    result = done("speech", tmp_path, {**params, "speed": 1.3, "pitch": 4, "volume": 0.5, "language": "en-GB"})
    assert result.facts["seconds"] < 0.9 * plain.facts["seconds"]
    before, after = heard(plain), heard(result)
    assert after.samples.std() == pytest.approx(0.5 * before.samples.std(), rel=0.25)
    ratio = pitch_of(after.samples[0], 22_050).median_hz / pitch_of(before.samples[0], 22_050).median_hz
    assert 12 * np.log2(ratio) == pytest.approx(4, abs=1)


def test_voices_of_every_kind(tmp_path: Path, recording: Path) -> None:
    def said(name: str, voice: Any, inputs: dict[str, Path] | None = None) -> JobResult:
        (tmp_path / name).mkdir()
        return done("speech", tmp_path / name, {"text": "Hello there.", "voice": voice, "format": "wav"}, inputs)

    assert said("usual", "").facts["voice"] == "Maya"
    assert said("live", "luna").facts["voice"] == "luna"
    described = said("described", "described: an old man with a deep, raspy voice")
    assert {"old", "man", "deep", "raspy"} <= set(described.facts["understood"])
    assert said("object", {"preset": "Mark", "f0_hz": 140}).facts["voice"] == "Mark"
    for voice in ("reference", ""):
        matched = said(f"reference{voice}", voice, {"reference": recording})
        assert matched.facts["matched"]["f0_hz"] == pytest.approx(108, rel=0.08)
        assert matched.facts["voice"] == "matched"


def test_speech_by_a_service(tmp_path: Path, service: FakeService) -> None:
    result = done("speech", tmp_path, {"text": "Hello", "voice": "Maya", "format": "wav"}, speech_url=service.url)
    assert result.model == "tts-1 at 127.0.0.1"
    assert heard(result).seconds == pytest.approx(1.0, abs=0.01)


def test_a_service_that_is_busy_is_tried_again(tmp_path: Path, service: FakeService) -> None:
    service.failing = 503
    with pytest.raises(JobError) as caught:
        done("speech", tmp_path, {"text": "Hello"}, speech_url=service.url)
    assert caught.value.code.startswith("INTERNAL")


def test_without_voices_speech_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worldstream.avatars.audio.speakers.installed_espeak", lambda: None)
    with pytest.raises(Refused, match=r"worldstream\[speech\]"):
        done("speech", tmp_path, {"text": "Hello"})


def test_sound(tmp_path: Path) -> None:
    result = done("sound", tmp_path, {"prompt": "rain", "seconds": 0.8, "seed": 3, "variants": 2, "format": "flac"})
    assert result.model == "procedural-sounds"
    assert result.facts["effects"] == ["rain"]
    assert result.facts["seed"] == 3
    one, other = heard(result, 0), heard(result, 1)
    assert one.samples.shape == other.samples.shape == (2, 38_400)
    assert np.abs(one.samples - other.samples).max() > 0.05


def test_a_loop_of_a_lossless_format_is_seamless(tmp_path: Path) -> None:
    result = done("sound", tmp_path, {"prompt": "engine", "seconds": 1.0, "loop": True})
    assert result.outputs[0].media_type == "audio/wav"
    samples = heard(result).samples
    assert samples.shape[1] == 48_000
    wrap = np.abs(samples[:, 0] - samples[:, -1]).max()
    assert wrap <= np.abs(np.diff(samples, axis=1)).max()


def test_the_same_order_is_the_same_sound(tmp_path: Path) -> None:
    seeds = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        seeds.append(done("sound", tmp_path / name, {"prompt": "bells", "seconds": 0.5}).facts["seed"])
    assert seeds[0] == seeds[1] != 0


def test_voice_change_of_a_recording(tmp_path: Path, recording: Path) -> None:
    params = {"voice": "Maya", "remove_noise": True, "format": "wav"}
    result = done("voice_change", tmp_path, params, {"media": recording})
    before, after = read_sound(recording), heard(result)
    assert before is not None
    assert after.seconds == pytest.approx(before.seconds, abs=0.01)
    assert pitch_of(after.samples[0], after.rate_hz).median_hz == pytest.approx(205, rel=0.05)
    assert result.facts["from_hz"] == pytest.approx(108, rel=0.08)


def test_voice_change_of_a_film_copies_its_picture(tmp_path: Path, film: Path) -> None:
    result = done("voice_change", tmp_path, {"voice": "Rachel"}, {"media": film})
    assert result.outputs[0].media_type == "video/mp4"
    packets = []
    for path in (film, result.outputs[0].path):
        with av.open(str(path)) as container:
            packets.append([bytes(p) for p in container.demux(container.streams.video[0]) if p.size])
    assert packets[0] == packets[1]
    after = heard(result)
    assert pitch_of(after.samples[0], after.rate_hz).median_hz == pytest.approx(190, rel=0.06)


def test_isolation(tmp_path: Path, recording: Path) -> None:
    clean = read_sound(recording)
    assert clean is not None
    noise = 0.05 * np.random.default_rng(0).standard_normal(clean.samples.shape)
    noisy = (clean.samples + noise).astype(np.float32)
    path, _ = write_sound(tmp_path / "noisy", Sound(noisy, clean.rate_hz), "wav")
    made = heard(done("isolate", tmp_path, {"format": "wav"}, {"audio": path})).samples[0]
    error = [np.square(x[: made.size] - clean.samples[0]).sum() for x in (noisy[0], made)]
    assert error[1] < error[0] / 4


def test_a_soundtrack_by_words_for_a_film_that_shows_nothing(tmp_path: Path, film: Path) -> None:
    """Grey is no place of the shipped world; the words are heard, in the film itself and beside its voice."""
    params = {"prompt": "only waves", "seconds": 10, "seed": 1, "mux": True, "keep_speech": True}
    result = done("soundtrack", tmp_path, params, {"video": film})
    assert result.facts["effects"] == ["waves"]
    assert result.facts["viewer"] == "nano"
    assert result.outputs[0].media_type == "video/mp4"
    assert heard(result).seconds == pytest.approx(1.5, abs=0.1)


def test_a_soundtrack_is_no_longer_than_asked(tmp_path: Path, film: Path) -> None:
    result = done("soundtrack", tmp_path, {"prompt": "rain", "seconds": 0.5, "format": "wav"}, {"video": film})
    assert heard(result).seconds == pytest.approx(0.5, abs=0.05)


def test_dubbing(tmp_path: Path, recording: Path, service: FakeService) -> None:
    service.segments = [(0.2, 1.5, "we were away")]
    params = {"language": "de", "format": "wav", "speakers": 2}
    result = done("dub", tmp_path, params, {"audio": recording}, dubbing_url=service.url)
    assert result.model == "gpt-4o-mini and espeak-ng"
    assert heard(result).seconds == pytest.approx(result.facts["seconds"], abs=0.01)
    assert "not cloned" in result.facts["notes"][0]
    assert [path for path, _, _ in service.asked] == ["/v1/audio/transcriptions", "/v1/chat/completions"]


def test_dubbing_without_a_service_is_refused(tmp_path: Path, recording: Path) -> None:
    with pytest.raises(Refused, match="WORLDSTREAM_DUBBING_URL"):
        done("dub", tmp_path, {"language": "de"}, {"audio": recording})


@pytest.mark.parametrize(
    ("kind", "params", "code", "said"),
    [
        ("speech", {"text": " "}, "INPUT_PREPROCESSING.INVALID", "nothing to say"),
        ("speech", {"text": "Hi", "voice": "Nobody"}, "INPUT_PREPROCESSING.INVALID", "no voice 'Nobody'"),
        ("speech", {"text": "Hi", "speed": 9}, "INPUT_PREPROCESSING.INVALID", "speed 9"),
        ("speech", {"text": "Hi", "volume": "loud"}, "INPUT_PREPROCESSING.INVALID", "volume must be a number"),
        ("speech", {"text": "Hi", "language": "fil"}, "INPUT_PREPROCESSING.INVALID", "'fil'"),
        ("speech", {"text": "Hi", "format": "aiff"}, "INPUT_PREPROCESSING.INVALID", "'aiff'"),
        ("speech", {"text": "Hi", "voice": "reference"}, "ASSET.INVALID", "no reference"),
        ("sound", {"prompt": "a purple thought"}, "INPUT_PREPROCESSING.INVALID", "offline sound effects are: wind"),
        ("sound", {"prompt": "rain", "seconds": 31}, "INPUT_PREPROCESSING.INVALID", "31"),
        ("sound", {"prompt": "rain", "variants": 99}, "INPUT_PREPROCESSING.INVALID", "variants 99"),
        ("voice_change", {"voice": "Maya"}, "ASSET.INVALID", "no media"),
        ("isolate", {}, "ASSET.INVALID", "no audio"),
        ("soundtrack", {}, "ASSET.INVALID", "no video"),
    ],
)
def test_what_cannot_be_done(tmp_path: Path, kind: str, params: dict[str, Any], code: str, said: str) -> None:
    with pytest.raises(JobError, match=said) as caught:
        done(kind, tmp_path, params)
    assert caught.value.code == code
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(("kind", "name"), [("voice_change", "media"), ("isolate", "audio"), ("soundtrack", "video")])
def test_files_that_are_none(tmp_path: Path, kind: str, name: str) -> None:
    junk = tmp_path / "junk"
    junk.write_bytes(b"\x00\x01junk" * 50)
    with pytest.raises(JobError) as caught:
        done(kind, tmp_path, {"voice": "Maya"}, {name: junk})
    assert caught.value.code == "ASSET.INVALID"


def test_silence_has_no_voice_to_change(tmp_path: Path) -> None:
    path, _ = write_sound(tmp_path / "still", Sound(np.zeros((1, 48_000), np.float32), 48_000), "wav")
    with pytest.raises(JobError, match="no voice was found"):
        done("voice_change", tmp_path, {"voice": "Maya"}, {"media": path})


def test_a_cancelled_job_ends(tmp_path: Path, recording: Path) -> None:
    with pytest.raises(Cancelled):
        done("isolate", tmp_path, {}, {"audio": recording}, Told(end=0.5))
