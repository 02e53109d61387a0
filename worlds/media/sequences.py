"""Films as one ZIP of numbered pictures, with the sound beside them and a note of the pace.

frame_000001.png, frame_000002.png, …   the pictures
sound.wav                               where the film has sound
sequence.json                           frames, frames per second, size, and what the numbers mean
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, cast
from zipfile import ZIP_STORED, ZipFile, ZipInfo

import cv2
import numpy as np
from numpy.typing import NDArray

from . import aces
from .colour import unit
from .exr import exr
from .formats import BT2020, PQ, FilmFormat
from .light import WHITE_NITS, display_light, pq
from .sound import Sound, write_sound

Rgb = NDArray[np.uint8] | NDArray[np.uint16]
_DATE = (1980, 1, 1, 0, 0, 0)  # the earliest that a ZIP knows: the same frames are the same file


def write_sequence(path: Path, frames: Iterator[Rgb], rate: Fraction, kind: FilmFormat, sound: Sound | None) -> None:
    """Frame after frame into a ZIP; pictures are compressed already, so it only stores them."""
    picture, suffix, meaning = _writer(kind, rate)
    count, size = 0, (0, 0)
    with ZipFile(path, "w", ZIP_STORED) as archive:
        for rgb in frames:
            count, size = count + 1, (rgb.shape[1], rgb.shape[0])
            archive.writestr(_entry(f"frame_{count:06d}{suffix}"), picture(rgb))
        if sound is not None:
            archive.writestr(_entry("sound.wav"), _wav(path, sound, float(count / rate)))
        facts = {"frames": count, "fps": str(rate), "width": size[0], "height": size[1], **meaning}
        archive.writestr(_entry("sequence.json"), json.dumps(facts, indent=1) + "\n")


def _entry(name: str) -> ZipInfo:
    entry = ZipInfo(name, _DATE)
    entry.external_attr = 0o644 << 16
    return entry


def _wav(path: Path, sound: Sound, seconds: float) -> bytes:
    part = sound if sound.seconds <= seconds else sound.between(0.0, seconds)
    written, _ = write_sound(path.with_name(path.name + ".sound"), part, "wav")
    try:
        return written.read_bytes()
    finally:
        written.unlink()


def _writer(kind: FilmFormat, rate: Fraction) -> tuple[Callable[[Rgb], bytes], str, dict[str, Any]]:
    """(frame to file, the file's suffix, what the numbers mean)."""
    if kind.light == "sdr":
        return png, ".png", {"colours": "Rec.709 video, full range, 8 or 16 bits as drawn"}
    if kind.light == "pq":
        return _pq_png, ".png", {"colours": "BT.2100 PQ, BT.2020 primaries, full range, 16 bits (cICP 9/16/0/1)"}
    if kind.light == "linear":
        meaning = f"linear light, BT.2020 primaries, half float; 1.0 is {WHITE_NITS:g} cd/m2 (diffuse white)"
        return (lambda rgb: _linear_exr(rgb, rate)), ".exr", {"colours": meaning}
    version = kind.light.removeprefix("aces ")
    meaning = f"ACEScg (AP1, scene-linear, half float), to be shown by the 1000-nit output transform of ACES {version}"
    return (lambda rgb: _aces_exr(rgb, rate, version)), ".exr", {"colours": meaning}


def _pq_png(rgb: Rgb) -> bytes:
    signal = pq(display_light(unit(rgb)))
    return png(np.rint(signal * 65535).astype(np.uint16), (BT2020, PQ, 0))


def _linear_exr(rgb: Rgb, rate: Fraction) -> bytes:
    light = display_light(unit(rgb)) / np.float32(WHITE_NITS)
    return exr(light, aces.BT2020, WHITE_NITS, rate)


def _aces_exr(rgb: Rgb, rate: Fraction, version: str) -> bytes:
    scene = aces.acescg(display_light(unit(rgb)), version)
    text = {"colorInteropID": "lin_ap1_scene", "acesOutputTransform": f"ACES {version}, 1000 cd/m2"}
    return exr(scene, aces.AP1, None, rate, text)


def png(rgb: Rgb, cicp: tuple[int, int, int] | None = None) -> bytes:
    """A PNG of 8 or 16 bits, full range. `cicp`: (primaries, transfer, matrix) of H.273, as a cICP chunk.

    Source: PNG specification, third edition, 11.3.2.6 (cICP; its matrix is 0, and it stands before IDAT).
    """
    done, data = cv2.imencode(".png", np.ascontiguousarray(rgb[..., ::-1]), [cv2.IMWRITE_PNG_COMPRESSION, 3])
    assert done, f"PNG of {rgb.dtype} {rgb.shape}"
    coded = cast(NDArray[np.uint8], data).tobytes()
    if cicp is None:
        return coded
    after_header = 8 + 25  # signature, IHDR
    body = b"cICP" + bytes((*cicp, 1))  # 1: full range
    chunk = struct.pack(">I", 4) + body + struct.pack(">I", zlib.crc32(body))
    return coded[:after_header] + chunk + coded[after_header:]
