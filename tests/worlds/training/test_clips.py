"""Clips are drawn with the actions, words and histories that belong to them."""

from __future__ import annotations

import numpy as np
import torch

from worldstream.worlds.config import NetworkConfig
from worldstream.worlds.memory import RECENT
from worldstream.worlds.rollout import ANCHOR_AFTER
from worldstream.worlds.training.clips import Clips, kept_along, revisited


def numbered_clips(episodes: int = 3, frames: int = 30) -> Clips:
    """Latents and actions hold the number of their frame; words 1 before frame 15, 2 from it on."""
    numbers = torch.arange(float(frames)).view(1, 1, frames, 1, 1, 1)
    latents = numbers.expand(2, episodes, frames, 1, 2, 2).half()
    actions = numbers.view(1, 1, frames, 1).expand(2, episodes, frames, 7).clone()
    words = torch.tensor([1, 2]).view(1, 2, 1, 1).expand(episodes, 2, 3, 4).clone()
    poses = np.zeros((2, episodes, frames, 4))
    poses[..., 1] = np.arange(frames)  # a metre north each frame
    kept = np.ones((episodes, frames), bool)
    revisits = np.empty((0, 2), np.int64)
    return Clips(latents, actions, words, torch.full((episodes,), 15), poses, kept, NetworkConfig(), revisits)


def test_drawn_clips_match_their_actions() -> None:
    batch = numbered_clips().draw(np.random.default_rng(0), 400, 4, 3, 0.1)
    frame = batch.clips[:, :, 0, 0, 0]
    torch.testing.assert_close(frame[:, 3:], frame[:, 3:4] + torch.arange(4.0), rtol=0, atol=0)
    torch.testing.assert_close(batch.actions[:, 1:, 0], frame[:, 4:], rtol=0, atol=0)
    blank = batch.blank
    assert 0.02 < float(blank.float().mean()) < 0.12
    assert (batch.actions[blank, 0, :5] == 0).all(), "no motion leads into the first frame"
    assert (frame[blank, :3] == frame[blank, 3:4]).all()
    usual = ~blank & (frame[:, 1] != frame[:, 2])
    torch.testing.assert_close(frame[usual], frame[usual, :1] + torch.arange(7.0), rtol=0, atol=0)
    assert 0.75 < float(usual.float().mean()) < 0.95
    later = frame[:, -1] >= 15
    told = batch.words[:, 0, 0]
    assert set(told[later].tolist()) == {0, 2}
    assert set(told[~later].tolist()) == {0, 1}
    assert 0.04 < float((told == 0).float().mean()) < 0.18


def test_places_are_older_frames_of_the_same_walk_seen_from_here() -> None:
    batch = numbered_clips().draw(np.random.default_rng(1), 200, 4, 3, 0.0, drop_places=0.5)
    target = batch.clips[:, 3:, 0, 0, 0]
    remembered, known = batch.places[..., 0, 0, 0], batch.place_known > 0
    age = target[:, :, None] - remembered
    assert (age[known] >= RECENT).all()
    torch.testing.assert_close(batch.place_poses[..., 1][known], age[known])  # so many metres ahead of it
    remembering = known.any(-1)
    assert 0.1 < float(remembering.float().mean()) < 0.7
    old_light = known & (target[:, :, None] >= 15)
    assert (remembered[old_light] >= 15 + ANCHOR_AFTER).all(), "nothing from before the change of light"
    assert not known[batch.blank].any()
    assert (remembered[~known] == 0).all()


def test_a_walk_that_looks_back_is_found() -> None:
    turn = np.zeros((40, 4))
    turn[:, 2] = np.concatenate([np.linspace(0, 2.0, 20), np.linspace(2.0, 0, 20)])
    straight = np.zeros((40, 4))
    straight[:, 1] = np.linspace(0, 10, 40)
    kept = np.stack([kept_along(turn), kept_along(straight)])
    assert 6 <= kept[0].sum() <= 9, "one in 15 degrees, none of them on the way back"
    assert 12 <= kept[1].sum() <= 14, "one in 0.75 m"
    found = revisited(np.stack([turn, straight]), kept, NetworkConfig())
    assert set(found[:, 0]) == {0}
    assert found[:, 1].min() > 20
