"""Any picture in, the world's size out; anything else is refused in words, whatever its bytes are."""

from __future__ import annotations

import io
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from worldstream.worlds import first_image
from worldstream.worlds.first_image import MAX_BYTES, FirstImage, ImageError, decoded, read_file
from worldstream.worlds.image_header import PNG_SIGNATURE, read_header
from worldstream.worlds.image_process import decoded_apart

WIDTH, HEIGHT = 64, 40


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def scene(width: int = 96, height: int = 60) -> Image.Image:
    """Red left, blue right, brighter towards the top."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(1, 0, height))
    rgb = np.stack([(1 - x) * (0.5 + y / 2), 0.2 + 0 * x, x * (0.5 + y / 2)], -1)
    return Image.fromarray((255 * rgb).astype(np.uint8))


def claims(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it is as large as that."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return PNG_SIGNATURE + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))


REFERENCE = decoded(saved(scene(), "PNG"), WIDTH, HEIGHT).rgb.astype(int)


def far_from_reference(data: bytes) -> float:
    image = decoded(data, WIDTH, HEIGHT)
    assert image.rgb.shape == (HEIGHT, WIDTH, 3)
    assert image.rgb.dtype == np.uint8
    return float(np.abs(image.rgb.astype(int) - REFERENCE).mean())


@pytest.mark.parametrize(
    ("data", "tolerance"),
    [
        (saved(scene(), "PNG"), 0.0),
        (saved(scene(), "WEBP", lossless=True), 0.0),
        (saved(scene(), "WEBP", quality=90), 4.0),
        (saved(scene(), "JPEG", quality=95), 3.0),
        (saved(scene(), "JPEG", quality=95, progressive=True), 3.0),
        (saved(scene().convert("CMYK"), "JPEG", quality=95), 4.0),
        (saved(scene().quantize(64), "PNG"), 8.0),
        (saved(scene().convert("RGBA"), "PNG"), 0.0),
        (saved(scene(960, 600), "JPEG", quality=95), 3.0),
    ],
    ids=["png", "webp lossless", "webp", "jpeg", "progressive", "cmyk", "palette", "alpha", "reduced"],
)
def test_every_kind_is_the_same_picture(data: bytes, tolerance: float) -> None:
    assert far_from_reference(data) <= tolerance


@pytest.mark.parametrize("kind", ["L", "LA", "1"])
def test_grey_is_grey(kind: str) -> None:
    rgb = decoded(saved(scene().convert(kind), "PNG"), WIDTH, HEIGHT).rgb
    assert np.ptp(rgb, axis=-1).max() == 0
    assert rgb.std() > 5


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    deep = np.linspace(0, 65535, WIDTH * HEIGHT).reshape(HEIGHT, WIDTH).astype(np.uint16)
    rgb = decoded(saved(Image.fromarray(deep), "PNG"), WIDTH, HEIGHT).rgb
    assert np.abs(rgb[..., 0].astype(float) - deep / 257).max() <= 1


def test_transparent_places_are_grey() -> None:
    see_through = scene(WIDTH, HEIGHT).convert("RGBA")
    see_through.putalpha(0)
    assert (decoded(saved(see_through, "PNG"), WIDTH, HEIGHT).rgb == first_image.GROUND).all()
    palette = Image.new("P", (WIDTH, HEIGHT), 0)
    palette.putpalette([255, 0, 0, 0, 255, 0])
    palette.paste(1, (WIDTH // 2, 0, WIDTH, HEIGHT))
    rgb = decoded(saved(palette, "PNG", transparency=1), WIDTH, HEIGHT).rgb
    assert (rgb[:, WIDTH // 2 :] == first_image.GROUND).all()
    assert (rgb[:, : WIDTH // 2] == (255, 0, 0)).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_camera_may_be_held_any_way(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    undo = {
        1: None, 2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]  # fmt: skip
    held = scene() if undo is None else scene().transpose(undo)
    assert far_from_reference(saved(held, "PNG", exif=exif)) == 0.0
    assert far_from_reference(saved(held, "JPEG", exif=exif, quality=95)) < 3.0


def test_colour_profiles_are_obeyed() -> None:
    swapped = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()  # not for RGB: cannot be used
    image = decoded(saved(scene(), "PNG", icc_profile=swapped), WIDTH, HEIGHT)
    assert any("profile" in note for note in image.notes)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert far_from_reference(saved(scene(), "PNG", icc_profile=srgb)) < 1.5
    assert any("profile" in n for n in decoded(saved(scene(), "PNG", icc_profile=b"junk"), WIDTH, HEIGHT).notes)


def test_another_gamma_changes_the_picture() -> None:
    """A profile that says "linear light" makes the same numbers brighter in sRGB."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    at = profile.find(b"para")
    assert at > 0
    profile[at : at + 32] = b"para" + struct.pack(">IHHi", 0, 0, 0, 1 << 16) + bytes(14)[:16]
    plain = decoded(saved(scene(), "PNG"), WIDTH, HEIGHT).rgb
    image = decoded(saved(scene(), "PNG", icc_profile=bytes(profile)), WIDTH, HEIGHT)
    assert image.notes == ()
    assert image.rgb.mean() > plain.mean() + 20


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_the_first_of_several_frames_is_used_and_said(kind: str) -> None:
    others = [Image.new("RGB", (96, 60), (0, 255, 0))] * 3
    data = saved(scene(), kind, save_all=True, append_images=others, lossless=True)
    assert far_from_reference(data) < 1.0
    assert "animated" in decoded(data, WIDTH, HEIGHT).notes[0]
    assert decoded(saved(scene(), kind, lossless=True), WIDTH, HEIGHT).notes == ()


def test_the_middle_is_kept() -> None:
    wide = Image.new("RGB", (400, 40), (255, 0, 0))
    wide.paste((0, 0, 255), (160, 0, 240, 40))
    image = decoded(saved(wide, "PNG"), WIDTH, HEIGHT)
    assert (image.rgb == (0, 0, 255)).all()
    assert any("middle" in note for note in image.notes)


def test_a_frame_that_was_saved_comes_back_bit_for_bit() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    image = decoded(saved(Image.fromarray(rgb), "PNG"), WIDTH, HEIGHT)
    assert np.array_equal(image.rgb, rgb)
    assert image.sha256 == FirstImage(rgb).sha256 != FirstImage(rgb[::-1]).sha256
    assert image.notes == ()


def test_a_small_picture_is_said_to_be_small() -> None:
    assert any("20 x" in note for note in decoded(saved(scene(20, 16), "PNG"), 256, 160).notes)


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"", "empty"),
        (b"hello, I am a picture", "not a picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG"),
        (b"<?xml version='1.0'?>\n<!-- drawn --><svg/>", "an SVG"),
        (saved(scene(), "GIF"), "a GIF"),
        (saved(scene(), "BMP"), "a BMP"),
        (saved(scene(), "TIFF"), "a TIFF"),
        (b"\0\0\0\x1cftypheic" + bytes(40), "a HEIC"),
        (b"\0\0\0\x1cftypavif" + bytes(40), "an AVIF"),
        (saved(scene(), "PNG")[:200], "PNG file is damaged"),
        (saved(scene(), "JPEG")[:900], "JPEG file is damaged"),
        (saved(scene(), "WEBP")[:200], "WebP file is damaged"),
        (saved(scene(), "PNG")[:20], "within its header"),
        (saved(scene(), "JPEG")[:20], "within its header"),
        (saved(scene(1, 1), "PNG"), "1 x 1"),
        (saved(scene(200, 15), "JPEG"), "200 x 15"),
        (claims(0, 0), "0 x 0"),
        (claims(60_000, 60_000), "60000 x 60000"),
        (claims(2**31, 2**31), "million is the limit"),
        (bytes(MAX_BYTES + 1), f"{MAX_BYTES // 2**20} MiB"),
    ],
)  # fmt: skip
def test_what_is_refused_is_named(data: bytes, named: str) -> None:
    with pytest.raises(ImageError, match=named) as refusal:
        decoded(data, WIDTH, HEIGHT)
    assert refusal.value.remedy


def test_a_bomb_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(*_: object, **__: object) -> None:
        raise AssertionError("Pillow was given a bomb")

    monkeypatch.setattr(Image, "open", opened)
    side = 16_383  # WebP's largest
    vp8x = b"VP8X" + struct.pack("<II", 10, 0) + (side - 1).to_bytes(3, "little") * 2
    webp = b"RIFF" + struct.pack("<I", 4 + len(vp8x)) + b"WEBP" + vp8x
    jpeg = b"\xff\xd8\xff\xe0\0\4JF\xff\xc2\0\x11\x08" + struct.pack(">HH", 65_000, 65_000) + bytes(20)
    for bomb in (claims(40_000, 40_000), webp, jpeg):
        with pytest.raises(ImageError, match="million is the limit"):
            decoded(bomb, WIDTH, HEIGHT)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("lossless", [False, True])
def test_headers_say_what_pillow_finds(kind: str, lossless: bool) -> None:
    for mode in ("RGB", "RGBA") if kind != "JPEG" else ("RGB", "CMYK"):
        header = read_header(saved(scene(301, 77).convert(mode), kind, lossless=lossless))
        assert header is not None
        assert (header.format, header.width_px, header.height_px) == (kind, 301, 77)


SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
SEEDS = [
    saved(scene(), "PNG"), saved(scene().quantize(16), "PNG"), saved(scene(), "JPEG"),
    saved(scene().convert("CMYK"), "JPEG", progressive=True), saved(scene(), "WEBP"),
    saved(scene().convert("RGBA"), "WEBP", lossless=True),
    saved(scene(), "WEBP", save_all=True, append_images=[Image.new("RGB", (96, 60))]),
    saved(scene(), "PNG", save_all=True, append_images=[Image.new("RGB", (96, 60))]),
    saved(scene(), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0", icc_profile=SRGB),
]  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A real file with some of its bytes changed, left out, doubled or cut off."""
    data = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(data) - 1)) if data else 0
        how = draw(st.sampled_from(["set", "cut", "drop", "double", "insert", "early"]))
        if how == "cut":
            del data[at:]
        elif how == "drop":
            del data[at : at + draw(st.integers(1, 40))]
        elif how == "double":
            data[at:at] = data[at : at + draw(st.integers(1, 40))]
        elif how == "insert":
            data[at:at] = draw(st.binary(min_size=1, max_size=16))
        elif data:  # headers are short and decide the most
            data[min(at, 60) if how == "early" else at] = draw(st.integers(0, 255))
        if not data:
            break
    return bytes(data)


@settings(max_examples=400, deadline=5000, suppress_health_check=[HealthCheck.too_slow])
@given(
    mutated()
    | st.binary(max_size=300)
    | st.sampled_from(SEEDS).flatmap(lambda s: st.binary(max_size=64).map(lambda b: s[:12] + b))
)
def test_hostile_bytes_give_a_picture_or_a_refusal(data: bytes) -> None:
    try:
        refused, shape = None, decoded(data, WIDTH, HEIGHT).rgb.shape
    except ImageError as error:
        refused, shape = error, None
    if refused is None:
        assert shape == (HEIGHT, WIDTH, 3)
    else:
        assert refused.problem.endswith(".")
        assert refused.remedy.endswith(".")


def test_a_process_of_its_own_gives_the_same() -> None:
    data = saved(scene(301, 77), "JPEG")
    image, apart = decoded(data, WIDTH, HEIGHT), decoded_apart(data, WIDTH, HEIGHT)
    assert np.array_equal(image.rgb, apart.rgb)
    assert image.notes == apart.notes
    with pytest.raises(ImageError, match="damaged"):
        decoded_apart(data[:700], WIDTH, HEIGHT)


def test_a_picture_that_takes_too_long_is_refused() -> None:
    started = time.monotonic()
    with pytest.raises(ImageError, match=r"longer than 0\.01 s"):
        decoded_apart(saved(scene(), "PNG"), WIDTH, HEIGHT, timeout_s=0.01)
    assert time.monotonic() - started < 5.0


def test_a_file_that_is_refused_is_named(tmp_path: Path) -> None:
    path = tmp_path / "holiday.png"
    path.write_bytes(b"no")
    with pytest.raises(ImageError, match=r"holiday\.png"):
        read_file(path, WIDTH, HEIGHT)
    path.write_bytes(saved(scene(), "PNG"))
    assert read_file(path, WIDTH, HEIGHT).rgb.shape == (HEIGHT, WIDTH, 3)
