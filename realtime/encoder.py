"""One picture in, bytes for every watcher out: H.264 by x264 for WebRTC and WebCodecs, JPEG for the plain WebSocket.

Runs on the worker thread. The stream is encoded once, whatever the number of watchers. The encoder is opened in CBR at
the ceiling and then turned down, because x264 lets a live stream move anywhere below the rate it was opened with:
setting `bit_rate` reaches `x264_encoder_reconfig` before the next frame, with no new parameter sets and no key frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import cv2
import numpy as np
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType
from numpy.typing import NDArray

from .config import VideoConfig

VIDEO_CLOCK_HZ = 90_000  # RFC 6184 section 8.2.1
TIME_BASE = Fraction(1, VIDEO_CLOCK_HZ)

cv2.setNumThreads(1)  # a 320x192 conversion takes 0.06 ms; waking other threads takes longer


@dataclass(frozen=True, slots=True)
class Encoded:
    """One H.264 access unit, Annex B."""

    packet: av.Packet[Any]  # pts in 90 kHz ticks; only read, so all watchers share it
    data: bytes
    keyframe: bool


class H264Encoder:
    """x264 superfast zerolatency, constrained baseline, one thread. Width and height even, in px."""

    def __init__(self, config: VideoConfig, width_px: int, height_px: int, fps: float) -> None:
        self._config = config
        self._size_px = (width_px, height_px)
        self._fps = fps
        self._bitrate_bps = config.start_bps
        self._codec = self._open()
        self._last_pts = -1
        self._last_key_s = float("-inf")
        self._wanted = True  # a stream starts with a key frame

    def _open(self) -> VideoCodecContext:
        codec = av.CodecContext.create("libx264", "w")
        codec.width, codec.height = self._size_px
        codec.pix_fmt = "yuv420p"
        codec.time_base = TIME_BASE
        codec.framerate = Fraction(self._fps).limit_denominator(1000)
        codec.thread_count = 1
        codec.gop_size = 2**30  # key frames on request only: a regular one is a regular stutter
        codec.profile = "Baseline"  # x264 sets constraint_set1 too, which makes it constrained baseline
        codec.bit_rate = self._config.ceiling_bps
        codec.options = {
            "preset": "superfast",
            "tune": "zerolatency",
            "level": "31",
            "maxrate": str(self._config.ceiling_bps),
            "bufsize": str(self._config.buffer_bits),
            "forced-idr": "1",
            "sc_threshold": "0",  # no key frames at cuts either
        }
        codec.open()
        codec.bit_rate = self._bitrate_bps
        return codec

    @property
    def bitrate_bps(self) -> int:
        return self._bitrate_bps

    def set_bitrate(self, bitrate_bps: int) -> None:
        """From the next frame on; clipped to the configured floor and ceiling."""
        self._bitrate_bps = max(self._config.floor_bps, min(self._config.ceiling_bps, bitrate_bps))
        self._codec.bit_rate = self._bitrate_bps

    def request_keyframe(self, at_once: bool = False) -> None:
        """The next frame is a key frame; unless `at_once`, the first one that is `keyframe_gap_s` after the last."""
        self._wanted = True
        if at_once:
            self._last_key_s = float("-inf")

    def encode(self, rgb: NDArray[np.uint8], now_s: float, i420: NDArray[np.uint8] | None = None) -> Encoded:
        """`rgb` [H, W, 3]; `now_s` becomes the timestamp. Never delays: one picture in, one access unit out.

        `i420` [H * 3 / 2, W]: the same picture as planes, where a GPU made them; PyAV copies them before this returns.
        """
        key = self._wanted and now_s - self._last_key_s >= self._config.keyframe_gap_s
        # [H * 3/2, W]; 100 times cheaper than PyAV's reformat
        yuv = cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420) if i420 is None else i420
        frame = av.VideoFrame.from_ndarray(yuv, format="yuv420p")  # type: ignore[arg-type]  # cv2 has no dtype stubs
        frame.pts = self._last_pts = max(self._last_pts + 1, round(now_s * VIDEO_CLOCK_HZ))
        frame.time_base = TIME_BASE
        frame.pict_type = PictureType.I if key else PictureType.NONE
        packets = self._codec.encode(frame)
        assert len(packets) == 1, f"zerolatency must give one packet per frame, got {len(packets)}"
        packet = packets[0]
        if packet.is_keyframe:
            self._last_key_s, self._wanted = now_s, False
        return Encoded(packet, bytes(packet), packet.is_keyframe)


def encode_jpeg(rgb: NDArray[np.uint8], quality: int) -> bytes:
    """`rgb` [H, W, 3] as JPEG; `quality` 1 to 100."""
    bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done, f"JPEG encoding failed for a picture of shape {rgb.shape}"
    return data.tobytes()
