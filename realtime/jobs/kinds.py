"""Every kind of job: what it takes, who does it, and in which lane it runs.

`params` and `inputs` are the contract between whoever orders (HTTP routes, the command line, workflows) and whoever
does it. Optional params may be absent; unknown ones are ignored. Sizes are pixels, times seconds.

| kind | params (optional in brackets) | inputs (optional in brackets) | makes |
|---|---|---|---|
| clip | prompt, seconds, width, height, seed, [camera, moments, references, draft, model, audio, joined, format, prores_profile] | [first, last, extend, ref0 …] | a video |
| still | prompt, width, height, seed, [references, count, model, format, quality] | [ref0 …] | pictures |
| edit | seed, [prompt, operation, keyframes, aspect, outpaint, strength, seconds, camera, references, model, format, prores_profile] | video, [mask, key0 …, ref0 …] | a video |
| upscale_image | [factor, width, height, resolution, sharpen, detail, grain, format] | image | a picture |
| upscale_video | [factor, width, height, resolution, sharpen, detail, grain, boost_fps, format, prores_profile] | video | a video |
| frame_rate | rate | video | a video |
| hdr | format, [prores_profile] | video | a video, or a ZIP of pictures |
| speech | text, [voice, language, speed, pitch, volume, rate_hz, format] | [reference] | a sound |
| sound | prompt, [seconds, loop, variants, negative, volume, rate_hz, format, seed] | [ref0 …] | sounds |
| voice_change | voice, [remove_noise, format] | media, [reference] | a sound, or a video with it |
| isolate | [format] | audio | a sound |
| soundtrack | seconds, [prompt, negative, variants, format, keep_speech, mux, seed] | video | sounds, or videos with them |
| dub | language, [clone, drop_background, speakers] | audio | a sound |
| join | [width, height, format, prores_profile] | video0, [video1 … , audio] | a video: one film after another |
| portrait | width, height, [processing] | image | a picture |
| workflow | graph, [values] | [any, as its media nodes are named] | what its output nodes make |

- `moments` = `[{"at_s": 2.0, "prompt": "…"}]`: new words on the way. `camera`: moves in words, as `film --camera`; a prompt may hold
  its own timed moves in the same notation.
- `model`: a world of this machine, by name. `audio`: effects for what a clip shows. `joined` (true unless said): with `extend`,
  the video stands before what is drawn; else the file holds the new part alone.
- `references` = `[{"input": "ref0", "tag": "hero"}]`, spoken of as `@hero` in the prompt.
- `keyframes` = `[{"input": "key0", "at_s": 1.0, "start_s": 0.0, "end_s": 2.0}]`; the range is optional.
- `operation` of edit: absent (the prompt decides), relight, restyle, replace, remove, background, green, clean_plate, extend, angle.
- `format` of videos: mp4, prores, png_sequence, hdr10, hlg, sdr_rec709_10bit, hdr_pq_12bit_master, hdr_prores, hdr_png_sequence,
  hdr_exr_sequence, hdr_exr_acescg_sequence_1_3, hdr_exr_acescg_sequence_2_0; sequences arrive as one ZIP. Of pictures: png, jpeg,
  webp. Of sounds: mp3, wav, flac, ogg_opus.
- `prores_profile`: 422, 4444, 422 Proxy, 422 LT, 422 HQ, 4444 XQ. `aspect`: 16:9 and its like. `rate`: "24", "23_98", …
- `draft`: fewer denoising steps of the same seed.
- `processing` of portrait: optimize (cropped to width x height, the head kept) or none. `graph` of workflow: nodes
  that are jobs of these kinds, see realtime/workflows/graph.py, run one after another; `values` of its primitives by id.
- `voice`: a preset's name, `reference` (matched to that input), `described: words`, or an object; `speed` and `volume` are factors,
  `pitch` is semitones, `language` a code such as pt-BR. See `sounds.py`.

A `Refused` raised by a job says that no model here can do it; what can be known beforehand is in `refusal`.
"""  # noqa: E501

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import wraps

from .contract import Job, JobOrder, JobResult, Tell, Workshop
from .params import check


@dataclass(frozen=True, slots=True)
class Kind:
    """`place` is `module:function` below this folder; `lane` is heavy (uses the model; few at once) or light."""

    name: str
    place: str
    lane: str = "heavy"


_ALL = (
    Kind("clip", "clips:clip"),
    Kind("still", "stills:still"),
    Kind("edit", "edits:edit"),
    Kind("upscale_image", "finishing:upscale_image", "light"),
    Kind("upscale_video", "finishing:upscale_video"),
    Kind("frame_rate", "finishing:frame_rate"),
    Kind("hdr", "finishing:hdr"),
    Kind("speech", "sounds:speech", "light"),
    Kind("sound", "sounds:sound", "light"),
    Kind("voice_change", "sounds:voice_change", "light"),
    Kind("isolate", "sounds:isolate", "light"),
    Kind("soundtrack", "sounds:soundtrack", "light"),
    Kind("dub", "sounds:dub", "light"),
    Kind("join", "joins:join", "light"),
    Kind("portrait", "portraits:portrait", "light"),
    Kind("workflow", "workflows:workflow"),
)
KINDS: dict[str, Kind] = {kind.name: kind for kind in _ALL}


def job_of(name: str) -> Job:
    """The function that does a kind, behind a check of its params. Raises ValueError on an unknown one."""
    if name not in KINDS:
        raise ValueError(f"there is no kind of job {name!r}; there are {', '.join(KINDS)}")
    module, _, function = KINDS[name].place.partition(":")
    job: Job = getattr(importlib.import_module(f".{module}", __package__), function)

    @wraps(job)
    def checked(order: JobOrder, workshop: Workshop, tell: Tell) -> JobResult:
        check(order)
        return job(order, workshop, tell)

    return checked


def refusal(name: str, workshop: Workshop) -> str:
    """Why this machine cannot do a kind, naming the setting that would change it; empty where it can."""
    if name == "dub" and not workshop.setting("dubbing_url"):
        return (
            "Dubbing into another language needs a translation service, and none is set; name one with "
            "WORLDSTREAM_DUBBING_URL."
        )
    return ""
