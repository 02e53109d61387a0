"""Counters, means and the exposition text."""

from __future__ import annotations

from dataclasses import replace

import pytest

from worldstream.realtime.mailbox import Drawn
from worldstream.realtime.metrics import Metrics, Recent


def drawn(**stages_ms: float) -> Drawn:
    return Drawn(1, 1, 1, 0.0, 25.0, fresh=True, stages_ms=stages_ms, skipped=1, steps=2, bitrate_bps=1_500_000)


def test_means_cover_the_last_second() -> None:
    metrics = Metrics()
    assert metrics.recent(0.0) == Recent(0.0, 0.0, 0.0, 0.0)
    metrics.frame(drawn(denoise=500.0, decode=500.0, encode=500.0), 8.0)  # long ago
    for index in range(20):
        metrics.frame(drawn(condition=1.0, denoise=10.0, decode=5.0, encode=2.0), 10.0 + index / 20)
    recent = metrics.recent(10.95)
    assert recent.fps == 20.0
    assert (recent.model_ms, recent.decode_ms, recent.encode_ms) == pytest.approx((11.0, 5.0, 2.0))


def test_the_text_has_everything() -> None:
    metrics = Metrics()
    metrics.frame(drawn(denoise=10.0), 1.0)
    metrics.photon(90.0)
    metrics.sessions({"player": 1, "queued": 2})
    text = metrics.text().decode()
    for line in (
        "worldstream_frames_total 1.0",
        "worldstream_frames_skipped_total 1.0",
        'worldstream_stage_seconds_bucket{le="0.01",stage="denoise"} 1.0',
        'worldstream_action_to_photon_seconds_bucket{le="0.1"} 1.0',
        'worldstream_sessions{role="queued"} 2.0',
        "worldstream_video_bitrate_bps 1.5e+06",
    ):
        assert line in text


def test_walks_brought_back_are_counted_over_resets() -> None:
    metrics = Metrics()
    for drift, times in (("fine", 0), ("straying", 1), ("straying", 1), ("lost", 2), ("fine", 0), ("straying", 1)):
        metrics.frame(replace(drawn(), drift=drift, reanchored=times), 1.0)
    text = metrics.text().decode()
    assert "worldstream_reanchorings_total 3.0" in text
    assert "worldstream_frames_strayed_total 4.0" in text


def test_two_servers_do_not_share_numbers() -> None:
    first, second = Metrics(), Metrics()
    first.stale_input()
    assert b"worldstream_inputs_stale_total 0.0" in second.text()
