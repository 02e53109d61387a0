"""Pictures in and out, and at another size."""

from __future__ import annotations

import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.worlds.media.films import difference, gradient
from worldstream.worlds.media.limits import DeliveryError, Limits, MediaError
from worldstream.worlds.media.pictures import FORMATS, read_picture, write_picture
from worldstream.worlds.media.scaling import fitted


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_comes_back(tmp_path: Path, name: str) -> None:
    rgb = next(gradient(1))
    path, media_type = write_picture(tmp_path / "a", rgb, name, 95)
    assert media_type == f"image/{name}"
    with Image.open(path) as image:
        assert image.format == name.upper()
    back = read_picture(path)
    assert difference(back, rgb) <= (0 if name == "png" else 2.0)
    assert not list(tmp_path.glob("*.part"))


def test_webp_at_full_quality_is_lossless(tmp_path: Path) -> None:
    rgb = next(gradient(1))
    assert np.array_equal(read_picture(write_picture(tmp_path / "a", rgb, "webp", 100)[0]), rgb)


def test_a_picture_is_upright_and_lies_on_grey(tmp_path: Path) -> None:
    turned = Image.new("RGB", (40, 20), (10, 200, 10))
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.jpg", exif=exif)
    assert read_picture(tmp_path / "turned.jpg").shape == (40, 20, 3)
    Image.new("RGBA", (4, 4), (255, 0, 0, 0)).save(tmp_path / "glass.png")
    assert read_picture(tmp_path / "glass.png")[0, 0].tolist() == [128, 128, 128]


def bomb(side: int) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1_000_000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def test_bombs_are_refused_from_their_header(tmp_path: Path) -> None:
    (tmp_path / "bomb.png").write_bytes(bomb(50_000))
    tracemalloc.start()
    with pytest.raises(MediaError, match=r"^bomb\.png: 50000 x 50000 is too large"):
        read_picture(tmp_path / "bomb.png")
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()
    (tmp_path / "small.png").write_bytes(bomb(300))
    with pytest.raises(MediaError, match="300 x 300 is too large"):
        read_picture(tmp_path / "small.png", Limits(pixels=80_000))


@pytest.mark.parametrize(
    "data", [b"", b"hello", b"GIF89a" + bytes(50), b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0" + bytes(90)]
)
def test_what_is_no_picture_is_said_in_one_line(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(MediaError, match=r"^a\.png: ") as caught:
        read_picture(tmp_path / "a.png")
    assert "\n" not in str(caught.value)


def test_a_picture_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    whole = write_picture(tmp_path / "a", noise, "png")[0].read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(MediaError, match=r"cut\.png"):
        read_picture(tmp_path / "cut.png")


def test_unknown_wishes(tmp_path: Path) -> None:
    rgb = next(gradient(1))
    with pytest.raises(DeliveryError, match="no picture format 'bmp'"):
        write_picture(tmp_path / "a", rgb, "bmp")
    with pytest.raises(DeliveryError, match="1 to 100, got 0"):
        write_picture(tmp_path / "a", rgb, "jpeg", 0)


@pytest.mark.parametrize(("width", "height"), [(64, 36), (1, 1), (33, 17), (128, 72), (20, 90), (200, 10)])
def test_fitted_is_exactly_that_size(width: int, height: int) -> None:
    rgb = next(gradient(1))
    assert fitted(rgb, width, height).shape == (height, width, 3)
    deep = rgb.astype(np.uint16) * 257
    assert fitted(deep, width, height).dtype == np.uint16


def test_fitted_keeps_the_middle_and_the_shape() -> None:
    rgb = np.zeros((30, 90, 3), np.uint8)
    rgb[:, 30:60] = 255
    assert fitted(rgb, 30, 30).min() == 255  # the middle third, without what lies beside it
    assert np.array_equal(fitted(rgb, 90, 30), rgb)
    with pytest.raises(ValueError, match="0 x 10"):
        fitted(rgb, 0, 10)
