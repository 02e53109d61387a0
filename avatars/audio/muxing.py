"""A film with another sound: the picture's packets are copied as they are, only the sound is encoded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av

from ...worlds.media.limits import MediaError, readable
from ...worlds.media.sound import RATES_HZ, Sound, SoundFormat, SoundTrack

_AAC = SoundFormat("aac", "", "", "", "aac", RATES_HZ, bit_rate=192_000)
_OPUS = SoundFormat("opus", "", "", "", "libopus", (48000,), bit_rate=128_000, sample_format="flt")
# suffix and media type, container, its sound, the picture codecs that it holds
_CONTAINERS: tuple[tuple[str, str, str, SoundFormat, frozenset[str]], ...] = (
    (".mp4", "video/mp4", "mp4", _AAC, frozenset({"h264", "hevc", "av1", "mpeg4", "vp9", "mpeg2video"})),
    (".mov", "video/quicktime", "mov", _AAC, frozenset({"prores", "mjpeg", "png", "dnxhd"})),
    (".webm", "video/webm", "webm", _OPUS, frozenset({"vp8"})),
)
_ATTACHED = 0x400  # AV_DISPOSITION_ATTACHED_PIC: cover art


def has_film(path: Path) -> bool:
    """Whether a file holds moving pictures; cover art is none. Raises MediaError on one that cannot be read."""
    with readable(path), av.open(str(path), "r", options={"protocol_whitelist": "file"}) as source:
        return any(not stream.disposition & _ATTACHED for stream in source.streams.video)


def with_sound(film: Path, sound: Sound, path_without_suffix: Path) -> tuple[Path, str]:
    """The film's first picture track beside `sound`, cut to its end: (path with its suffix, media type).

    Raises MediaError where the file holds no film, or one whose codec no container here takes.
    """
    with readable(film), av.open(str(film), "r", options={"protocol_whitelist": "file"}) as source:
        pictures = [s for s in source.streams.video if not s.disposition & _ATTACHED]
        if not pictures:
            raise MediaError("it holds no film; send a file with a video track")
        codec = pictures[0].codec_context.name
        kinds = [kind for kind in _CONTAINERS if _plain(codec) in kind[4]]
        if not kinds:
            raise MediaError(f"its pictures are {codec}, which cannot be copied beside a new sound; save it as H.264")
        suffix, media_type, container, kind, _ = kinds[0]
        path = path_without_suffix.with_name(path_without_suffix.name + suffix)
        temporary = path.with_name(path.name + ".part")
        options = {"fflags": "+bitexact", **({"movflags": "+faststart"} if container in ("mp4", "mov") else {})}
        try:
            with av.open(str(temporary), "w", format=container, options=options) as out:
                _copied(source, pictures[0], out, sound, kind)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    return path, media_type


def _plain(codec: str) -> str:
    """The codec's name without the decoder's: libdav1d reads av1."""
    return {"libdav1d": "av1", "libaom-av1": "av1", "libvpx": "vp8", "libvpx-vp9": "vp9"}.get(codec, codec)


def _copied(source: Any, stream: Any, out: Any, sound: Sound, kind: SoundFormat) -> None:
    target = out.add_stream_from_template(stream)
    track = SoundTrack(out, sound, kind)
    start, end_s = None, 0.0
    for packet in _packets(source, stream):
        base = float(packet.time_base)
        start = packet.dts if start is None else start
        at_s = (packet.dts - start) * base
        end_s = max(end_s, at_s + (packet.duration or 0) * base)
        packet.stream = target
        out.mux(packet)
        for packets in track.until(at_s):
            out.mux(packets)
    for packets in track.until(end_s):
        out.mux(packets)
    out.mux(track.end())


def _packets(source: Any, stream: Any) -> Iterator[Any]:
    for packet in source.demux(stream):
        if packet.dts is not None:
            yield packet
