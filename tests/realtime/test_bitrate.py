"""One stream for everybody: whose line decides how many bits it has."""

from __future__ import annotations

import pytest

from worldstream.realtime.bitrate import shared_bitrate
from worldstream.realtime.config import VideoConfig

VIDEO = VideoConfig()


@pytest.mark.parametrize(
    ("player", "viewers", "expected"),
    [
        ([], [], VIDEO.start_bps),
        ([50_000], [], VIDEO.floor_bps),
        ([10**8], [], VIDEO.ceiling_bps),
        ([2_000_000], [1_000_000], 1_000_000),
        ([2_000_000], [100_000], VIDEO.viewer_floor_bps),
        ([300_000], [100_000], 300_000),
        ([], [900_000, 700_000], 700_000),
    ],
)
def test_one_bitrate_for_all(player: list[int], viewers: list[int], expected: int) -> None:
    assert shared_bitrate(player, viewers, VIDEO) == expected
