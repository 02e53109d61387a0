"""Every delivery format, read back by FFmpeg as ffprobe would, by OpenEXR, and byte by byte."""

from __future__ import annotations

import io
import json
import struct
import wave
import zipfile
import zlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import OpenEXR  # type: ignore[import-not-found]
import pytest
from av.sidedata.sidedata import Type
from numpy.typing import NDArray

from tests.worlds.media.films import HEIGHT, WIDTH, difference, gradient, tone
from worldstream.worlds.media import aces
from worldstream.worlds.media.formats import FORMATS, PRORES, film_format
from worldstream.worlds.media.light import display_light, pq_nits
from worldstream.worlds.media.limits import DeliveryError
from worldstream.worlds.media.video_in import read_video
from worldstream.worlds.media.video_out import write_video

COUNT = 4
FPS = Fraction(24000, 1001)
# format: codec, pixel format, profile, (primaries, transfer, matrix) of H.273, tag
FILMS = {
    "mp4": ("h264", "yuv420p", "High", (1, 1, 1), "avc1"),
    "sdr_rec709_10bit": ("hevc", "yuv420p10le", "Main 10", (1, 1, 1), "hvc1"),
    "hdr10": ("hevc", "yuv420p10le", "Main 10", (9, 16, 9), "hvc1"),
    "hlg": ("hevc", "yuv420p10le", "Main 10", (9, 18, 9), "hvc1"),
    "hdr_pq_12bit_master": ("hevc", "yuv444p12le", "Rext", (9, 16, 9), "hvc1"),
    "prores": ("prores", "yuv422p10le", "HQ", (1, 1, 1), "apch"),
    "hdr_prores": ("prores", "yuv422p10le", "HQ", (9, 16, 9), "apch"),
}
SEQUENCES = [name for name in FORMATS if name not in FILMS]


def test_every_format_of_the_contract_is_there() -> None:
    assert set(FORMATS) == {
        "mp4", "prores", "png_sequence", "hdr10", "hlg", "sdr_rec709_10bit", "hdr_pq_12bit_master", "hdr_prores",
        "hdr_png_sequence", "hdr_exr_sequence", "hdr_exr_acescg_sequence_1_3", "hdr_exr_acescg_sequence_2_0",
    }  # fmt: skip
    assert set(PRORES) == {"422", "4444", "422 Proxy", "422 LT", "422 HQ", "4444 XQ"}


@pytest.mark.parametrize("name", FILMS)
def test_films_are_tagged_and_coded_as_they_should(tmp_path: Path, name: str) -> None:
    codec, pixels, profile, tags, four = FILMS[name]
    path, media_type = write_video(tmp_path / "film", gradient(COUNT), FPS, name, sound=tone(0.5, channels=2))
    assert path.suffix == {"video/mp4": ".mp4", "video/quicktime": ".mov"}[media_type]
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        assert (context.codec.canonical_name, context.pix_fmt, context.profile) == (codec, pixels, profile)
        assert (context.codec_tag, stream.average_rate, stream.frames) == (four, FPS, COUNT)
        frames = list(container.decode(stream))
        assert (frames[0].color_primaries, frames[0].color_trc, frames[0].colorspace) == tags
        assert frames[0].color_range == 1  # narrow
        assert [frame.time for frame in frames] == pytest.approx([i / float(FPS) for i in range(COUNT)], abs=1e-6)
        assert container.streams.audio[0].codec_context.name == ("aac" if path.suffix == ".mp4" else "pcm_s24le")
    video = read_video(path)
    seen = list(video.frames())
    assert len(seen) == COUNT
    assert max(difference(a, b) for a, b in zip(seen, gradient(COUNT), strict=True)) < 3.0  # HDR comes back as SDR
    sound = video.sound
    assert sound is not None
    assert (sound.channels, sound.rate_hz) == (2, 48_000)
    assert sound.seconds == pytest.approx(COUNT / float(FPS), abs=1024 / 48_000)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def rationals(data: bytes) -> list[float]:
    """AVMasteringDisplayMetadata begins with ten fractions: x, y of red, green, blue, white; least and most nits."""
    numbers = struct.unpack("<20i", data[:80])
    return [a / b for a, b in zip(numbers[::2], numbers[1::2], strict=True)]


@pytest.mark.parametrize("name", ["hdr10", "hdr_pq_12bit_master"])
def test_hdr10_carries_its_static_metadata(tmp_path: Path, name: str) -> None:
    path, _ = write_video(tmp_path / "film", gradient(2), 25, name)
    with av.open(str(path)) as container:
        side: Any = next(container.decode(video=0)).side_data
        mastering = rationals(bytes(side[Type.MASTERING_DISPLAY_METADATA]))
        light = struct.unpack("<2I", bytes(side[Type.CONTENT_LIGHT_LEVEL])[:8])
    p3 = [0.680, 0.320, 0.265, 0.690, 0.150, 0.060, 0.3127, 0.3290, 0.0001, 1000]
    assert mastering == pytest.approx(p3, abs=1e-4)
    assert light == (600, 0)


def test_no_pixel_is_brighter_than_the_metadata_says(tmp_path: Path) -> None:
    bright = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    bright[:, :16], bright[:, 16:32], bright[:, 32:48] = 255, (255, 255, 0), (255, 0, 0)
    path, _ = write_video(tmp_path / "film", [bright] * 2, 25, "hdr_pq_12bit_master")
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        rgb = frame.reformat(format="gbrp12le").to_ndarray()
    nits = pq_nits((rgb / 4080).astype(np.float32))  # swscale makes of white 255 x 16
    assert nits[:, 4:12].mean() == pytest.approx(600, rel=0.02)
    assert nits.max() < 600 * 1.05  # coding noise


@pytest.mark.parametrize(
    ("profile", "four", "pixels", "said"),
    [
        ("422 Proxy", "apco", "yuv422p10le", "Proxy"), ("422 LT", "apcs", "yuv422p10le", "LT"),
        ("422", "apcn", "yuv422p10le", "Standard"), ("422 HQ", "apch", "yuv422p10le", "HQ"),
        ("4444", "ap4h", "yuv444p12le", "4444"), ("4444 XQ", "ap4x", "yuv444p12le", "XQ"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["prores", "hdr_prores"])
def test_prores_profiles(tmp_path: Path, name: str, profile: str, four: str, pixels: str, said: str) -> None:
    path, _ = write_video(tmp_path / "film", gradient(2), 25, name, profile)
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        assert (context.codec_tag, context.pix_fmt, context.profile) == (four, pixels, said)
        frame = next(container.decode(video=0))
        assert frame.color_trc == (1 if name == "prores" else 16)
    assert path.read_bytes().count(b"apl0") >= 1


def pictures(path: Path) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        for name in archive.namelist():
            yield name, archive.read(name)


@pytest.mark.parametrize("name", SEQUENCES)
def test_sequences_are_one_zip_with_sound_and_facts(tmp_path: Path, name: str) -> None:
    path, media_type = write_video(tmp_path / "film", gradient(COUNT), FPS, name, sound=tone(2.0))
    held = dict(pictures(path))
    suffix = "exr" if "exr" in name else "png"
    assert (path.suffix, media_type) == (".zip", "application/zip")
    assert list(held) == [f"frame_{i:06d}.{suffix}" for i in range(1, COUNT + 1)] + ["sound.wav", "sequence.json"]
    facts = json.loads(held["sequence.json"])
    assert (facts["frames"], facts["fps"], facts["width"], facts["height"]) == (COUNT, "24000/1001", WIDTH, HEIGHT)
    with wave.open(io.BytesIO(held["sound.wav"])) as file:
        assert file.getnframes() / file.getframerate() == pytest.approx(COUNT / float(FPS), abs=1e-4)
    assert [p.name for p in tmp_path.iterdir()] == ["film.zip"]
    again, _ = write_video(tmp_path / "again", gradient(COUNT), FPS, name, sound=tone(2.0))
    assert again.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("depth", [8, 16])
def test_a_png_sequence_is_lossless(tmp_path: Path, depth: int) -> None:
    frames: list[Any] = list(gradient(2))
    if depth == 16:
        frames = [frame.astype(np.uint16) * 257 + 3 for frame in frames]
    path, _ = write_video(tmp_path / "film", frames, 25, "png_sequence")
    data = [body for name, body in pictures(path) if name.endswith(".png")]
    for body, frame in zip(data, frames, strict=True):
        back = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_UNCHANGED)
        assert back is not None
        assert np.array_equal(back[..., ::-1], frame)


def chunks(data: bytes) -> list[tuple[str, bytes]]:
    found, at = [], 8
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        name, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        assert struct.unpack(">I", data[at + 8 + length : at + 12 + length])[0] == zlib.crc32(name + body)
        found.append((name.decode(), body))
        at += 12 + length
    return found


def test_hdr_pngs_say_that_they_are_pq(tmp_path: Path) -> None:
    grey = np.full((HEIGHT, WIDTH, 3), 104, np.uint8)
    path, _ = write_video(tmp_path / "film", [grey], 25, "hdr_png_sequence")
    data = dict(pictures(path))["frame_000001.png"]
    names = [name for name, _ in chunks(data)]
    assert names.index("cICP") < names.index("IDAT")
    found = dict(chunks(data))
    assert found["cICP"] == bytes([9, 16, 0, 1])
    assert found["IHDR"][8:10] == bytes([16, 2])  # 16 bits, RGB
    back: Any = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert pq_nits((back / 65535).astype(np.float32)).mean() == pytest.approx(203 * (104 / 255) ** 2.4, rel=0.002)


def openexr(path: Path, folder: Path) -> tuple[NDArray[Any], dict[str, Any]]:
    (folder / "frame.exr").write_bytes(dict(pictures(path))["frame_000001.exr"])
    with OpenEXR.File(str(folder / "frame.exr")) as file:
        return np.array(file.channels()["RGB"].pixels), dict(file.header())


@pytest.mark.parametrize(("width", "height"), [(64, 36), (1, 1), (33, 17), (40, 16)])
def test_exr_pictures_are_read_alike_by_openexr(tmp_path: Path, width: int, height: int) -> None:
    frame = np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)  # hardly compresses
    path, _ = write_video(tmp_path / "film", [frame.astype(np.uint16) * 257], FPS, "hdr_exr_sequence")
    pixels, header = openexr(path, tmp_path)
    assert pixels.dtype == np.float16
    wanted = display_light((frame / 255).astype(np.float32)) / 203
    assert np.abs(pixels - wanted).max() < 0.002
    assert header["whiteLuminance"] == 203
    assert header["framesPerSecond"] == FPS
    assert header["chromaticities"] == pytest.approx([v for pair in aces.BT2020 for v in pair])


@pytest.mark.parametrize(("version", "name"), [("1.3", "1_3"), ("2.0", "2_0")])
def test_acescg_pictures(tmp_path: Path, version: str, name: str) -> None:
    frame = np.full((HEIGHT, WIDTH, 3), 104, np.uint8)
    path, _ = write_video(tmp_path / "film", [frame], 25, f"hdr_exr_acescg_sequence_{name}")
    pixels, header = openexr(path, tmp_path)
    ap1 = [0.713, 0.293, 0.165, 0.830, 0.128, 0.044, 0.32168, 0.33767]
    assert header["chromaticities"] == pytest.approx(ap1)
    assert header["colorInteropID"] == "lin_ap1_scene"
    assert version in header["acesOutputTransform"]
    assert pixels.std() < 0.001  # grey is grey at the white of ACES
    forward = {"1.3": aces.nits_of_scene_13, "2.0": aces.nits_of_scene_20}[version]
    assert float(forward(np.array(pixels.mean(dtype=np.float64)))) == pytest.approx(203 * (104 / 255) ** 2.4, rel=0.003)


def test_odd_sizes_grow_where_colours_are_halved(tmp_path: Path) -> None:
    frames = list(gradient(2, 33, 17))
    video = read_video(write_video(tmp_path / "a", frames, 25)[0])
    assert (video.width, video.height) == (34, 18)
    assert difference(next(video.frames())[:17, :33], frames[0]) < 2
    video = read_video(write_video(tmp_path / "b", frames, 25, "prores", "4444")[0])
    assert (video.width, video.height) == (33, 17)


def test_it_is_told_frame_by_frame_and_can_stop_it(tmp_path: Path) -> None:
    heard: list[int] = []

    def told(count: int, rgb: NDArray[np.uint8]) -> None:
        heard.append(count)
        assert rgb.dtype == np.uint8
        if count == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_video(tmp_path / "film", gradient(9), 25, told=told)
    assert heard == [1, 2, 3]
    assert not list(tmp_path.iterdir())  # whole or not at all


def test_the_same_frames_are_the_same_file(tmp_path: Path) -> None:
    for name in ("mp4", "hdr10", "prores"):
        first, _ = write_video(tmp_path / "a", gradient(3), 25, name, sound=tone(0.1))
        second, _ = write_video(tmp_path / "b", gradient(3), 25, name, sound=tone(0.1))
        assert first.read_bytes() == second.read_bytes(), name


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(DeliveryError, match="no film format 'avi'; there are mp4"):
        write_video(tmp_path / "a", gradient(1), 25, "avi")
    with pytest.raises(DeliveryError, match="no ProRes profile '4:2:2'"):
        write_video(tmp_path / "a", gradient(1), 25, "prores", "4:2:2")
    assert film_format("mp4", "422") == FORMATS["mp4"]  # a profile belongs to ProRes, and is left out elsewhere
    with pytest.raises(ValueError, match="no frames"):
        write_video(tmp_path / "a", [], 25)
    with pytest.raises(ValueError, match="one size"):
        write_video(tmp_path / "a", [np.zeros((4, 4, 3), np.uint8), np.zeros((4, 6, 3), np.uint8)], 25)
    with pytest.raises(ValueError, match="no folder"):
        write_video(tmp_path / "none" / "a", gradient(1), 25)
    assert not list(tmp_path.iterdir())
