"""Small real media files for requests, and one good request for every model of every endpoint."""

from __future__ import annotations

import base64
import functools
import io
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

from tests.realtime.runway.sdk_shapes import Member

UUID = "00000000-0000-4000-8000-000000000001"


@functools.cache
def picture(width: int = 320, height: int = 180) -> bytes:
    """A PNG with something in it."""
    rows, columns = np.mgrid[0:height, 0:width]
    rgb = np.stack([rows % 256, columns % 256, (rows + columns) % 256], axis=-1).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "PNG")
    return file.getvalue()


@functools.cache
def film(seconds: float = 3.0, width: int = 64, height: int = 36, fps: int = 12) -> bytes:
    """An H.264 MP4."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=fps, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for index in range(round(seconds * fps)):
            frame = av.VideoFrame.from_ndarray(np.full((height, width, 3), 5 * index % 256, np.uint8), "rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file.getvalue()


@functools.cache
def sound(seconds: float = 1.0, rate_hz: int = 8000) -> bytes:
    """A WAV of one tone."""
    file = io.BytesIO()
    tone = (np.sin(np.arange(round(seconds * rate_hz)) * 0.3) * 8000).astype(np.int16)
    with av.open(file, "w", format="wav") as container:
        stream = container.add_stream("pcm_s16le", rate=rate_hz, layout="mono")
        frame = av.AudioFrame.from_ndarray(tone[None], "s16", "mono")
        frame.sample_rate = rate_hz
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file.getvalue()


def data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def media() -> dict[str, str]:
    """A good media string of each kind."""
    return {
        "image": data_uri("image/png", picture()),
        "video": data_uri("video/mp4", film()),
        "audio": data_uri("audio/wav", sound()),
    }


def example(endpoint: str, model: str, shape: dict[str, Member], *, full: bool = False) -> dict[str, Any]:
    """A good body: the required members, or with `full` every member that a local model follows or ignores."""
    body = {name: _value(endpoint, name, member) for name, member in shape.items() if member.required or full}
    body["model"] = model
    refused = {"referenceVideos", "referenceAudio", "maskUri"}  # no local model follows them: tested by themselves
    body = {name: value for name, value in body.items() if name not in refused}
    if "proresProfile" in body:
        body["outputFormat"] = "hdr_prores" if endpoint == "video_to_hdr" else "prores"
    return body


def _value(endpoint: str, name: str, member: Member) -> Any:
    uris = media()
    special: dict[str, Any] = {
        "promptImage": uris["image"], "imageUri": uris["image"], "videoUri": uris["video"],
        "promptVideo": uris["video"], "audioUri": uris["audio"], "promptText": "A lake at dawn",
        "negativePrompt": "fog", "nextText": "And then?", "previousText": "Before.", "languageCode": "en",
        "draftTaskId": UUID, "backgroundColor": "#ffffff", "colors": ["#102030"], "seed": 7, "ratio": "1280:720",
        "references": [{"uri": uris["image"]}], "referenceImages": [{"uri": uris["image"]}],
        "referenceAudios": [uris["audio"]], "keyframes": [{"uri": uris["image"], "seconds": 1.5}],
        "contentModeration": {"publicFigureThreshold": "low"}, "reference": {"type": "video", "uri": uris["video"]},
        "providerSettings": {"multiPrompt": [{"duration": 2, "prompt": "a"}, {"duration": 3, "prompt": "b"}]},
        "character": {"type": "image", "uri": uris["image"]}, "media": {"type": "audio", "uri": uris["audio"]},
        "avatar": {"type": "runway-preset", "presetId": "influencer"},
        "speech": {"type": "text", "text": "Hello.", "voice": {"type": "preset", "presetId": "maya"}},
        "targetFramerate": "24", "expressionIntensity": 3, "numSpeakers": 2,
    }  # fmt: skip
    if name == "voice":
        preset = {"type": "runway-preset", "presetId": "Maya"}
        return preset if "presetId" in dict(member.members) else {"type": "reference-audio", "audioUri": uris["audio"]}
    if name in special and (not member.values or special[name] in member.values or member.members):
        return special[name]
    if member.values - {"auto"}:
        return sorted(member.values - {"auto"}, key=str)[0]
    flags = {
        "audio", "loop", "draft", "grounding", "edit", "preciseEdit", "fpsBoost", "useSpeakerBoost", "bodyControl",
        "removeBackgroundNoise", "disableVoiceCloning", "dropBackgroundAudio", "preserveSpeech",
    }  # fmt: skip
    if name in flags:
        return True
    return {"duration": 5, "outputCount": 2, "numVariants": 2, "speed": 1.1}.get(name, 1)


def write(folder: Path) -> dict[str, Path]:
    """The files themselves, by kind."""
    paths = {"image": folder / "picture.png", "video": folder / "film.mp4", "audio": folder / "sound.wav"}
    for path, content in zip(paths.values(), (picture(), film(), sound()), strict=True):
        path.write_bytes(content)
    return paths
