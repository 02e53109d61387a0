"""Jobs that make and change sounds; `kinds.py` lists their params.

`voice` of speech and voice_change is a preset's name (`Maya`, or a live one, `luna`), `reference` for the one matched
to the input of that name, `described: an old man with a deep voice`, or an object as `voice_to_json` writes it; empty
is the usual one. `speed` and `volume` are factors, `pitch` is semitones, `language` a code such as `pt-BR`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from ...avatars.audio.denoise import denoised, isolated
from ...avatars.audio.dubbing import LANGUAGES, dubbing_of, spoken
from ...avatars.audio.effects import rendered
from ...avatars.audio.loudness import bent, levelled
from ...avatars.audio.matching import matched
from ...avatars.audio.muxing import has_film, with_sound
from ...avatars.audio.sightings import Watched, watched
from ...avatars.audio.soundtrack import beside_speech, sound_of, variants
from ...avatars.audio.speakers import speaker_of
from ...avatars.audio.spectral import FloatArray, Signal
from ...avatars.audio.voice_change import voice_changed
from ...avatars.audio.voices import DEFAULT, voice_from_json, voice_named, voice_of_words
from ...avatars.tts import NoSpeaker, SpeechError, Voice
from ...worlds.judge import load_judge
from ...worlds.media.limits import MediaError
from ...worlds.media.sound import Sound, read_sound, write_sound
from ...worlds.media.video_in import Video, read_video
from ...worlds.weights import SHIPPED
from .contract import JobError, JobOrder, JobResult, Output, Refused, Tell, Workshop
from .kinds import refusal

PROCEDURAL, WIENER, PSOLA = "procedural-sounds", "wiener-filter", "psola"
SPEECH_LUFS = -18.0
USUAL_SECONDS = 5.0
MOST_SECONDS = 1200.0  # of a recording that is worked on
MOST_VARIANTS = 8
MOST_WORDS = 300  # whose times are told
DESCRIBED, REFERENCE = "described:", "reference"


def speech(order: JobOrder, workshop: Workshop, tell: Tell) -> JobResult:
    """A text said in a voice."""
    params = order.params
    with _in_words():
        tell(0.0)
        voice, how = _voice(order)
        speaker = speaker_of(workshop.setting)
        said = speaker.say(
            str(params.get("text", "")), voice, str(params.get("language") or ""), _number(params, "speed", 1.0),
            _number(params, "pitch", 0.0),
        )  # fmt: skip
        tell(0.7)
        loud = levelled(said.samples[None], said.rate_hz, SPEECH_LUFS) * _number(params, "volume", 1.0, 0.0, 4.0)
        output = _written(order, Sound(bent(loud).astype(np.float32), said.rate_hz), "speech")
    words = [[word.text, round(word.start_s, 3), round(word.end_s, 3)] for word in said.words[:MOST_WORDS]]
    facts = {"voice": voice.name, **how, "words": words, "notes": list(said.notes)}
    return _result(tell, (output,), said.engine, len(said.samples) / said.rate_hz, facts)


def sound(order: JobOrder, workshop: Workshop, tell: Tell) -> JobResult:
    """A sound effect from words, or several variants of it."""
    params, outputs, names = order.params, list[Output](), tuple[str, ...]()
    seconds, seed = _number(params, "seconds", USUAL_SECONDS), _seed(order)
    with _in_words():
        seeds = variants(seed, _variants(params))
        for index, one in enumerate(seeds):
            tell(index / len(seeds))
            made, names = rendered(
                str(params.get("prompt", "")), seconds, one, bool(params.get("loop")), str(params.get("negative") or "")
            )
            loud = bent(made.samples * np.float64(_number(params, "volume", 1.0, 0.0, 4.0))).astype(np.float32)
            outputs.append(_written(order, replace(made, samples=loud), _numbered("sound", index, len(seeds))))
    notes = ["reference sounds are not used by the procedural effects"] if "ref0" in order.inputs else []
    if params.get("loop") and params.get("format") in ("mp3", "ogg_opus"):
        notes.append("its codec adds a little silence to a loop; wav and flac repeat without a seam")
    facts = {"seed": seed, "effects": list(names), "loop": bool(params.get("loop")), "notes": notes}
    return _result(tell, tuple(outputs), PROCEDURAL, seconds, facts)


def voice_change(order: JobOrder, workshop: Workshop, tell: Tell) -> JobResult:
    """What is said in a recording or film, in another voice; a film's picture is copied as it is."""
    with _in_words():
        path = order.file("media")
        voice, how = _voice(order)
        tell(0.0)
        heard = _heard(path)
        mono: Signal = heard.samples.mean(0, dtype=np.float64)
        if order.params.get("remove_noise"):
            mono = denoised(mono[None], heard.rate_hz, told=lambda share: tell(0.05 + 0.3 * share))[0]
        tell(0.4)
        made, measured = voice_changed(mono, heard.rate_hz, voice)
        tell(0.85)
        changed = Sound(bent(made)[None].astype(np.float32), heard.rate_hz)
        if has_film(path):
            output = Output(*with_sound(path, changed, order.folder / "voice"))
        else:
            output = _written(order, changed, "voice")
    facts = {"voice": voice.name, **how, **{key: round(value, 3) for key, value in measured.items()}}
    return _result(tell, (output,), PSOLA, heard.seconds, facts)


def isolate(order: JobOrder, workshop: Workshop, tell: Tell) -> JobResult:
    """The voice of a recording, with noise and what lies beside it reduced."""
    with _in_words():
        tell(0.0)
        heard = _heard(order.file("audio"))
        stereo = heard.samples[:2]
        made = isolated(stereo, heard.rate_hz, lambda share: tell(0.05 + 0.85 * share))
        output = _written(order, Sound(bent(made).astype(np.float32), heard.rate_hz), "voice")
    notes = ["steady noise sinks by 10 to 20 dB; a second voice, or music as loud as the voice, largely stays"]
    return _result(tell, (output,), WIENER, heard.seconds, {"notes": notes})


def soundtrack(order: JobOrder, workshop: Workshop, tell: Tell) -> JobResult:
    """Effects for a film, from what it shows and from words."""
    params, outputs, names, notes = order.params, list[Output](), tuple[str, ...](), tuple[str, ...]()
    with _in_words():
        path = order.file("video")
        video = read_video(path)
        seen, world = _watched(video, workshop, _number(params, "seconds", MOST_SECONDS, 0.1, 1e6), tell)
        voices = _kept_voices(video, seen, tell) if params.get("keep_speech") else None
        seed = _seed(order)
        seeds = variants(seed, _variants(params))
        for index, one in enumerate(seeds):
            start = 0.5 + 0.5 * index / len(seeds)
            made = sound_of(
                seen, str(params.get("prompt") or ""), one, str(params.get("negative") or ""),
                lambda share, start=start: tell(start + 0.4 * share / len(seeds)),  # type: ignore[misc]
            )  # fmt: skip
            names, notes = made.effects, made.notes
            mixed = made.sound if voices is None else beside_speech(made.sound, voices.samples, voices.rate_hz)
            name = _numbered("soundtrack", index, len(seeds))
            muxed = params.get("mux")
            outputs.append(
                Output(*with_sound(path, mixed, order.folder / name)) if muxed else _written(order, mixed, name)
            )
    facts = {
        "seed": seed, "effects": list(names), "shows": seen.place, "night": seen.night, "viewer": world,
        "notes": [*video.notes, *notes],
    }  # fmt: skip
    return _result(tell, tuple(outputs), PROCEDURAL, seen.seconds, facts)


def dub(order: JobOrder, workshop: Workshop, tell: Tell) -> JobResult:
    """A recording in another language, by the service that is set."""
    said = refusal("dub", workshop)
    if said:
        raise Refused(said)
    params, notes = order.params, list[str]()
    language = str(params.get("language", ""))
    with _in_words():
        if language not in LANGUAGES:
            raise ValueError(f"there is no language {language!r} to dub into; there are {', '.join(LANGUAGES)}")
        service, speaker = dubbing_of(workshop.setting), speaker_of(workshop.setting)
        assert service is not None
        tell(0.0)
        heard = _heard(order.file("audio"))
        mono = heard.samples.mean(0, dtype=np.float64)
        plain, _ = write_sound(
            order.folder / "recording", Sound(mono[None].astype(np.float32), heard.rate_hz), "wav", 16000
        )
        lines = service.lines(plain)
        plain.unlink()
        tell(0.3)
        texts = service.translated([line.text for line in lines], language)
        tell(0.4)
        voice = voice_named(DEFAULT)
        if params.get("clone", True):
            voice, _ = matched(mono, heard.rate_hz)
            notes.append("the voice is matched in pitch and tilt, not cloned")
        if int(params.get("speakers") or 1) > 1:
            notes.append("all speakers are given one voice: nothing here tells them apart")
        timed = [replace(line, text=text) for line, text in zip(lines, texts, strict=True)]
        made, more = spoken(
            timed, heard.seconds, heard.rate_hz, speaker, voice, language, lambda share: tell(0.4 + 0.4 * share)
        )
        mixed = made[None] if params.get("drop_background") else made[None] + _background(heard)
        output = _written(
            order, Sound(levelled(mixed, heard.rate_hz, SPEECH_LUFS).astype(np.float32), heard.rate_hz), "dub"
        )
    facts = {"language": language, "lines": len(lines), "voice": voice.name, "notes": [*notes, *more]}
    return _result(tell, (output,), f"{service.translator} and {speaker.name}", heard.seconds, facts)


def _background(heard: Sound) -> FloatArray:
    """What is left of a recording, mono `[1, n]`, without what the isolation takes for its voice."""
    mono = heard.samples.mean(0, keepdims=True, dtype=np.float64)
    left = mono - isolated(mono, heard.rate_hz)
    return left * 10 ** (-6 / 20)


def _watched(video: Video, workshop: Workshop, seconds: float, tell: Tell) -> tuple[Watched, str]:
    """(what the film shows, by which world's viewer)."""
    world = workshop.world("")
    whole = min(video.seconds or seconds, seconds)
    tell(0.0)
    seen = watched(
        video.frames(), float(video.fps), world.viewer(), load_judge(SHIPPED), (world.width_px, world.height_px),
        seconds,        lambda at_s: tell(min(0.45 * at_s / max(whole, 0.1), 0.45)),
    )  # fmt: skip
    return seen, str(world.name)


def _kept_voices(video: Video, seen: Watched, tell: Tell) -> Sound | None:
    """The voices of a film's own sound; None where it has none."""
    own = video.sound
    if own is None:
        return None
    part = own.between(0.0, seen.seconds)
    return replace(part, samples=isolated(part.samples[:2], part.rate_hz, lambda _: tell(0.5)).astype(np.float32))


def _voice(order: JobOrder) -> tuple[Voice, Mapping[str, Any]]:
    """(the voice that an order asks for, facts about how it came to be)."""
    asked = order.params.get("voice") or (REFERENCE if REFERENCE in order.inputs else DEFAULT)
    if isinstance(asked, Mapping):
        return voice_from_json(asked), {}
    if asked == REFERENCE:
        heard = _heard(order.file(REFERENCE))
        voice, measured = matched(heard.samples.mean(0, dtype=np.float64), heard.rate_hz)
        return voice, {"matched": {key: round(value, 3) for key, value in measured.items()}}
    if str(asked).startswith(DESCRIBED):
        voice, understood = voice_of_words(str(asked).removeprefix(DESCRIBED).strip())
        return voice, {"understood": list(understood), "description": voice.description}
    return voice_named(str(asked)), {}


def _heard(path: Path) -> Sound:
    heard = read_sound(path)
    if heard is None:
        raise MediaError("it holds no sound; send a file in which somebody speaks")
    if heard.seconds > MOST_SECONDS:
        raise MediaError(
            f"its sound is {heard.seconds:.0f} s long, longer than {MOST_SECONDS:g} s; send a shorter part"
        )
    return heard


def _written(order: JobOrder, made: Sound, name: str) -> Output:
    """A loop is a WAV where no format is asked for: an MP3 begins with silence of its codec."""
    rate = order.params.get("rate_hz")
    format = str(order.params.get("format") or ("wav" if order.params.get("loop") else "mp3"))
    return Output(*write_sound(order.folder / name, made, format, None if rate is None else int(rate)))


def _result(tell: Tell, outputs: tuple[Output, ...], model: str, seconds: float, facts: Mapping[str, Any]) -> JobResult:
    tell(1.0)
    return JobResult(outputs, model, {"seconds": round(seconds, 3), **facts})


def _numbered(name: str, index: int, count: int) -> str:
    return name if count == 1 else f"{name}-{index + 1}"


def _variants(params: Mapping[str, Any]) -> int:
    return round(_number(params, "variants", 1, 1, MOST_VARIANTS))


def _number(params: Mapping[str, Any], name: str, usual: float, low: float = -1e9, high: float = 1e9) -> float:
    value = params.get(name)
    if value is None:
        return usual
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise JobError("INPUT_PREPROCESSING.INVALID", f"{name} {value!r} is outside {low:g} to {high:g}.")
    return float(value)


def _seed(order: JobOrder) -> int:
    """The order's, or one of its id: the same order tried again makes the same sound."""
    seed = order.params.get("seed")
    return int.from_bytes(sha256(order.id.encode()).digest()[:4], "big") if seed is None else abs(int(seed))


@contextmanager
def _in_words() -> Iterator[None]:
    """What is wrong with a file, a wish or an engine, as a failure code of the task API."""
    try:
        yield
    except MediaError as error:
        raise JobError("ASSET.INVALID", f"{error}.") from error
    except NoSpeaker as error:
        raise Refused(str(error)) from error
    except SpeechError as error:
        code = "INTERNAL.SPEECH" if error.transient else "INPUT_PREPROCESSING.INVALID"
        raise JobError(code, f"{error}.") from error
    except ValueError as error:
        raise JobError("INPUT_PREPROCESSING.INVALID", f"{error}.") from error
