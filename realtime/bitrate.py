"""How many bits a second the one encoded stream may have, from what everybody's line carries."""

from __future__ import annotations

from .config import VideoConfig


def shared_bitrate(player: list[int], viewers: list[int], video: VideoConfig) -> int:
    """One stream serves all: the player's line decides, viewers may pull it down only to `viewer_floor_bps`."""
    wanted = min(player, default=video.start_bps if not viewers else video.ceiling_bps)
    if viewers:
        wanted = min(wanted, max(min(viewers), video.viewer_floor_bps))
    return max(video.floor_bps, min(video.ceiling_bps, wanted))
