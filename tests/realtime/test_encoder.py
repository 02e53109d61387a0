"""The encoder: decodes back, key frames on request only, and a bitrate that moves without a new stream."""

from __future__ import annotations

from itertools import pairwise

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from worldstream.realtime.config import VideoConfig
from worldstream.realtime.encoder import Encoded, H264Encoder, encode_jpeg

CONFIG = VideoConfig()
FPS = 24.0
SPS, PPS, IDR = 7, 8, 5


def nal_types(data: bytes) -> list[int]:
    types, at = [], data.find(b"\0\0\1")
    while at >= 0:
        types.append(data[at + 3] & 31)
        at = data.find(b"\0\0\1", at + 3)
    return types


def texture(seed: int = 0) -> NDArray[np.uint8]:
    """Hard to compress: [400, 800, 3]."""
    blocks = np.random.default_rng(seed).integers(0, 255, (50, 100, 3), dtype=np.uint8)
    return np.repeat(np.repeat(blocks, 8, axis=0), 8, axis=1)


class Stream:
    """An encoder that is fed a moving texture at 24 fps."""

    def __init__(self, config: VideoConfig = CONFIG) -> None:
        self.encoder = H264Encoder(config, 320, 192, FPS)
        self.texture = texture()
        self.index = 0

    def next(self) -> Encoded:
        shift = (self.index * 5) % 400
        noise = np.random.default_rng(self.index).integers(0, 12, (192, 320, 3), dtype=np.uint8)
        rgb = self.texture[shift // 4 : shift // 4 + 192, shift : shift + 320] // 2 + noise
        encoded = self.encoder.encode(np.ascontiguousarray(rgb), self.index / FPS)
        self.index += 1
        return encoded

    def rate_bps(self, frames: int = 72) -> float:
        return sum(len(self.next().data) for _ in range(frames)) * 8 * FPS / frames


def test_every_picture_decodes_at_once() -> None:
    stream, decoder = Stream(), av.CodecContext.create("h264", "r")
    decoder.thread_type = "SLICE"  # frame threads would hold pictures back
    for _ in range(10):
        pictures = decoder.decode(av.Packet(stream.next().data))
        assert len(pictures) == 1
        assert isinstance(pictures[0], av.VideoFrame)
        assert (pictures[0].width, pictures[0].height) == (320, 192)


def test_what_comes_out_looks_like_what_went_in() -> None:
    encoder, decoder = H264Encoder(CONFIG, 320, 192, FPS), av.CodecContext.create("h264", "r")
    ramp = np.linspace(20, 230, 320, dtype=np.uint8)
    rgb = np.ascontiguousarray(np.broadcast_to(ramp[None, :, None], (192, 320, 3)))
    (picture,) = decoder.decode(av.Packet(encoder.encode(rgb, 0.0).data)) + decoder.decode(None)
    assert isinstance(picture, av.VideoFrame)
    assert np.abs(picture.to_ndarray(format="rgb24").astype(int) - rgb.astype(int)).mean() < 3.0


def test_the_stream_is_constrained_baseline_level_31() -> None:
    data = Stream().next().data
    at = data.find(b"\0\0\1\x67") + 4
    profile, constraints, level = data[at : at + 3]
    assert (profile, level) == (66, 31)
    assert constraints & 0x40  # constraint_set1: constrained baseline


def test_only_the_first_picture_is_a_key_frame() -> None:
    stream = Stream()
    encoded = [stream.next() for _ in range(100)]
    assert [index for index, item in enumerate(encoded) if item.keyframe] == [0]
    assert {SPS, PPS, IDR} <= set(nal_types(encoded[0].data))
    assert all(nal_types(item.data) == [1] for item in encoded[1:])


def test_a_cut_is_no_key_frame() -> None:
    stream = Stream()
    for _ in range(10):
        stream.next()
    stream.texture = texture(9)
    assert not stream.next().keyframe


def test_a_key_frame_comes_on_request_with_its_parameter_sets() -> None:
    stream = Stream()
    for _ in range(24):
        stream.next()
    stream.encoder.request_keyframe()
    encoded = stream.next()
    assert encoded.keyframe
    assert {SPS, PPS, IDR} <= set(nal_types(encoded.data))


def test_requests_are_rate_limited_but_not_forgotten() -> None:
    stream = Stream()
    keys = []
    for index in range(30):
        stream.encoder.request_keyframe()
        if stream.next().keyframe:
            keys.append(index / FPS)
    gaps = [after - before for before, after in pairwise(keys)]
    assert len(keys) >= 3
    assert all(CONFIG.keyframe_gap_s <= gap <= CONFIG.keyframe_gap_s + 2 / FPS for gap in gaps)


def test_a_request_at_once_does_not_wait() -> None:
    stream = Stream()
    stream.next()
    stream.encoder.request_keyframe(at_once=True)
    assert stream.next().keyframe
    assert not stream.next().keyframe


def test_the_bitrate_moves_without_a_new_stream() -> None:
    stream = Stream()
    stream.rate_bps(24)
    rates = {}
    for target in (1_500_000, 200_000, 3_000_000, 600_000):
        stream.encoder.set_bitrate(target)
        before = stream.index
        settle = [stream.next() for _ in range(24)]
        rates[target] = stream.rate_bps()
        assert not any(item.keyframe or SPS in nal_types(item.data) for item in settle), f"at {before}"
    for target, rate in rates.items():
        assert 0.6 * target <= rate <= 1.15 * target, rates


def test_the_bitrate_is_clipped_to_the_configured_range() -> None:
    encoder = H264Encoder(CONFIG, 320, 192, FPS)
    encoder.set_bitrate(1)
    assert encoder.bitrate_bps == CONFIG.floor_bps
    encoder.set_bitrate(10**9)
    assert encoder.bitrate_bps == CONFIG.ceiling_bps


def test_key_frames_stay_small_enough_for_narrow_links() -> None:
    stream = Stream()
    stream.rate_bps(48)
    stream.encoder.request_keyframe()
    assert len(stream.next().data) * 8 <= 1.2 * CONFIG.buffer_bits


def test_timestamps_are_90_khz_and_strictly_rise() -> None:
    encoder = H264Encoder(CONFIG, 320, 192, FPS)
    rgb = np.zeros((192, 320, 3), dtype=np.uint8)
    pts = [encoder.encode(rgb, now_s).packet.pts for now_s in (1.0, 1.0, 0.5, 2.0)]
    assert pts == [90_000, 90_001, 90_002, 180_000]


def test_jpeg_decodes_back() -> None:
    rgb = np.zeros((192, 320, 3), dtype=np.uint8)
    rgb[..., 0] = 200
    data = encode_jpeg(rgb, 80)
    assert data[:2] == b"\xff\xd8"
    (picture,) = av.CodecContext.create("mjpeg", "r").decode(av.Packet(data))
    assert isinstance(picture, av.VideoFrame)
    mean = picture.to_ndarray(format="rgb24").mean(axis=(0, 1))
    assert mean == pytest.approx([200, 0, 0], abs=6)  # red, not blue: the channels are not swapped


def test_planes_of_a_gpu_are_encoded_as_the_picture_is_and_only_while_it_is_encoded() -> None:
    """The same bytes from rgb and from its planes; the planes' buffer may be written again at once, and is let go."""
    import weakref

    import cv2

    plain, given = (H264Encoder(CONFIG, 320, 192, FPS) for _ in range(2))
    buffer = np.empty((288, 320), np.uint8)
    for i in range(4):
        rgb = np.ascontiguousarray(texture(i)[:192, :320])
        planes = buffer[:]
        planes[:] = cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420)
        held = weakref.ref(planes)
        expected = plain.encode(rgb, i / FPS)
        encoded = given.encode(rgb, i / FPS, planes)
        del planes
        assert held() is None, "a ring could never use it again"
        buffer[:] = 0
        assert encoded.data == expected.data
        assert encoded.keyframe == expected.keyframe == (i == 0)
