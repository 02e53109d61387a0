"""A log holds the picture that its walk began from; one that is damaged, too large or another's is refused in words."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from tests.worlds.tiny_world import world
from worldstream.worlds import action_log, film, log_image
from worldstream.worlds.action_log import ActionLogError, LogHeader
from worldstream.worlds.core import Action
from worldstream.worlds.first_image import FirstImage
from worldstream.worlds.log_image import kept_image, to_text, whole_image
from worldstream.worlds.weights import LoadedWorld

WORLD = world()
SIZE = (WORLD.width_px, WORLD.height_px)


def picture(seed: int = 0) -> FirstImage:
    """Noise: the PNG that compresses worst."""
    rng = np.random.default_rng(seed)
    return FirstImage(rng.integers(0, 256, (WORLD.height_px, WORLD.width_px, 3), dtype=np.uint8))


IMAGE = picture()
HEADER = film.header(WORLD, "forest", 3, IMAGE)


def encoded(file: bytes) -> str:
    return base64.b64encode(file).decode()


def saved(kind: str, size: tuple[int, int] = SIZE) -> str:
    file = io.BytesIO()
    Image.new("RGB", size, (20, 160, 40)).save(file, kind)
    return encoded(file.getvalue())


def claiming(width: int, height: int) -> str:
    """A PNG of a few bytes that says it is that large."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return encoded(b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b""))


def cut_off(text: str) -> str:
    """The same file without its last third."""
    data = base64.b64decode(text)
    return encoded(data[: 2 * len(data) // 3])


def test_a_picture_comes_back_bit_for_bit_through_the_file(tmp_path: Path) -> None:
    path = tmp_path / "walk.jsonl"
    action_log.write(path, HEADER, [Action(forward_m=0.1)])
    found = kept_image(action_log.read(path).header, WORLD)
    assert found is not None
    np.testing.assert_array_equal(found.rgb, IMAGE.rgb)
    assert found.sha256 == IMAGE.sha256
    assert found.notes == ()


def test_a_walk_from_words_has_none() -> None:
    header = film.header(WORLD, "forest", 3)
    assert kept_image(header, WORLD) is None
    assert whole_image(header, WORLD) is None


def test_a_picture_that_the_log_only_names_is_missed_where_nobody_can_give_it() -> None:
    header = replace(HEADER, image_png=None)
    assert kept_image(header, WORLD) is None
    with pytest.raises(
        ActionLogError, match=rf"began from a picture \({IMAGE.sha256[:12]}\) that is not in it.*--image"
    ):
        whole_image(header, WORLD)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "The file is empty"),
        ("%%%%", "not written in base 64"),
        (HEADER.image_png[:-3] if HEADER.image_png else "", "not written in base 64"),
        ("bär", "not written in base 64"),
        ("\ud800", "not written in base 64"),
        (encoded(b"hello"), "not a picture"),
        (encoded(b"\x89PNG\r\n\x1a\n"), "damaged or cut off within its header"),
        (encoded(b"%PDF-1.7"), "This is a PDF"),
        (saved("JPEG"), "is a JPEG, not a PNG"),
        (saved("WEBP"), "is a WEBP, not a PNG"),
        (
            saved("PNG", (SIZE[0] * 2, SIZE[1])),
            rf"has {SIZE[0] * 2} x {SIZE[1]} pixels, this world {SIZE[0]} x {SIZE[1]}",
        ),
        (claiming(60_000, 60_000), "has 60000 x 60000 pixels"),
        (claiming(2**31 - 1, 2**31 - 1), "pixels"),
        (claiming(1, 1), "1 x 1"),
        ("A" * 10_000_000, "takes 10000000 characters, more than one of"),
    ],
)
def test_what_cannot_be_the_picture_is_refused_before_anything_is_decoded(
    text: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(data: bytes, width_px: int, height_px: int) -> FirstImage:
        raise AssertionError("decoded")

    monkeypatch.setattr(log_image, "decoded", never)
    with pytest.raises(ActionLogError, match=said):
        kept_image(replace(HEADER, image_png=text), WORLD)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (replace(HEADER, image_png=cut_off(to_text(IMAGE.rgb))), "damaged or cut off"),
        (replace(HEADER, image_png=claiming(*SIZE)), "damaged or cut off"),
        (replace(HEADER, image_sha256="0" * 64), "not the one that its header names"),
        (replace(HEADER, image_sha256=None), "not the one that its header names"),
        (replace(HEADER, image_png=to_text(picture(1).rgb)), "not the one that its header names"),
    ],
)
def test_a_picture_that_is_damaged_or_exchanged_is_refused(header: LogHeader, said: str) -> None:
    with pytest.raises(ActionLogError, match=said):
        kept_image(header, WORLD)


@given(
    st.binary(max_size=300) | st.binary(max_size=300).map(lambda tail: base64.b64decode(to_text(IMAGE.rgb))[:40] + tail)
)
def test_whatever_the_bytes_are_the_error_is_the_logs(data: bytes) -> None:
    with pytest.raises(ActionLogError, match="picture"):
        kept_image(replace(HEADER, image_png=encoded(data)), WORLD)


@given(st.text(max_size=60))
def test_whatever_the_text_is_the_error_is_the_logs(text: str) -> None:
    with pytest.raises(ActionLogError, match="picture"):
        kept_image(replace(HEADER, image_png=text), WORLD)


@pytest.mark.parametrize("value", [5, ["a"], True, {"png": 1}])
def test_a_header_whose_picture_is_no_text_is_damaged(value: object, tmp_path: Path) -> None:
    path = tmp_path / "walk.jsonl"
    path.write_text(action_log.encoded_header(replace(HEADER, image_png=value), 1) + "\n[0, 0, 0, 0, 0]\n")  # type: ignore[arg-type]
    with pytest.raises(ActionLogError, match="the header's image_png is"):
        action_log.read(path)


def drawn(loaded: LoadedWorld, image: FirstImage | None, actions: list[Action]) -> list[NDArray[np.uint8]]:
    rollout = loaded.rollout()
    rollout.reset(3, "forest", None if image is None else image.rgb)
    return [frame.rgb for action in actions for frame in rollout.step(action)]


def test_the_log_alone_is_enough_to_draw_the_walk_again(tmp_path: Path) -> None:
    actions = [Action(forward_m=0.2, yaw_rad=0.02 * i) for i in range(8)]
    path = tmp_path / "walk.jsonl"
    action_log.write(path, HEADER, actions)
    again = list(film.frames(world(), action_log.read(path)))
    np.testing.assert_array_equal(np.stack(again), np.stack(drawn(WORLD, IMAGE, actions)))
    assert not np.array_equal(again[0], drawn(WORLD, None, actions)[0]), "from words it is another world"
