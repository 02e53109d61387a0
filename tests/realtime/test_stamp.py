"""The barcode survives H.264 at 0.5 Mb/s, in both number ranges."""

from __future__ import annotations

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.realtime.fake_world import FakeWorld
from worldstream.realtime import stamp
from worldstream.realtime.config import VideoConfig
from worldstream.realtime.encoder import H264Encoder
from worldstream.worlds.core import Action


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_what_is_drawn_is_read(frame: int, input_id: int) -> None:
    rgb = np.full((192, 320, 3), 90, dtype=np.uint8)
    assert stamp.read(stamp.draw(rgb, frame, input_id)) == (frame % 4096, input_id % 1024)


def test_drawing_leaves_the_original_and_the_rest_of_the_picture() -> None:
    rgb = np.full((192, 320, 3), 90, dtype=np.uint8)
    stamped = stamp.draw(rgb, 1, 2)
    assert (rgb == 90).all()
    assert (stamped[stamp.HEIGHT_PX :] == 90).all()


def test_pictures_without_a_stamp_read_as_none() -> None:
    assert stamp.read(np.zeros((192, 320, 3), dtype=np.uint8)) is None
    assert stamp.read(np.zeros((8, 8, 3), dtype=np.uint8)) is None
    flipped = stamp.draw(np.zeros((192, 320, 3), dtype=np.uint8), 5, 5)
    flipped[:16, 13:26] = 255 - flipped[:16, 13:26]  # one block: parity catches it
    assert stamp.read(flipped) is None


def test_too_small_a_picture_is_an_error() -> None:
    with pytest.raises(ValueError, match="got 80x80"):
        stamp.draw(np.zeros((80, 80, 3), dtype=np.uint8), 1, 1)


def test_it_survives_h264_at_half_a_megabit() -> None:
    encoder = H264Encoder(VideoConfig(start_bps=500_000), 320, 192, 24.0)
    decoder = av.CodecContext.create("h264", "r")
    player = FakeWorld().rollout()
    player.reset(1, "")
    wrong = 0
    for number in range(60):
        (frame,) = player.step(Action(yaw_rad=0.1, forward_m=0.3))
        encoded = encoder.encode(stamp.draw(frame.rgb, number, number * 7), number / 24)
        for picture in decoder.decode(av.Packet(encoded.data)):
            assert isinstance(picture, av.VideoFrame)
            wrong += stamp.read(picture.to_ndarray(format="rgb24").astype(np.uint8)) != (
                number % 4096,
                number * 7 % 1024,
            )
    assert wrong == 0
